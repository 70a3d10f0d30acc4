"""Memory of GPUs: copies to and from the host through the driver, and whether MPI can read it itself.

Not tested on hardware: the tests put an object with the same methods in place of the driver.
"""

from __future__ import annotations

import ctypes
import os
from functools import cache
from typing import Any, Protocol

from collectives.operations import Array
from commsim.errors import ExecutionError

AWARE_VARIABLES = (  # set to 1 where the MPI library was told to take device memory
    "COMMSIM_CUDA_AWARE",
    "MPIR_CVAR_ENABLE_GPU",  # MPICH
    "MPICH_GPU_SUPPORT_ENABLED",  # Cray MPICH
    "MV2_USE_CUDA",  # MVAPICH2
    "OMPI_MCA_opal_cuda_support",  # Open MPI
)


class Device(Protocol):
    """What a GPU's memory needs."""

    def synchronize(self, stream: int | None) -> None:
        """Wait until what a stream was told to do is done; None: there is nothing to wait for."""

    def to_host(self, host: Array, address: int) -> None:
        """Copy from the device."""

    def to_device(self, address: int, host: Array) -> None:
        """Copy to the device."""


class CudaDriver:
    """NVIDIA's driver (``libcuda``): what CuPy's and torch's memory is reached by. Their context must be current."""

    def __init__(self) -> None:
        try:
            self._cuda = ctypes.CDLL("libcuda.so.1")
        except OSError:
            raise ExecutionError(
                "a buffer is on a CUDA device and libcuda.so.1 cannot be loaded; copy the buffer to the host"
            ) from None

    def _check(self, name: str, *arguments: Any) -> None:
        status = getattr(self._cuda, name)(*arguments)
        if status:
            raise ExecutionError(f"{name} failed with CUDA's error {status}; is the array's device current?")

    def synchronize(self, stream: int | None) -> None:
        """Wait for a stream."""
        if stream is not None:
            self._check("cuStreamSynchronize", ctypes.c_void_p(stream))

    def to_host(self, host: Array, address: int) -> None:
        """Copy from the device, and wait."""
        place = ctypes.c_void_p(host.ctypes.data)
        self._check("cuMemcpyDtoH_v2", place, ctypes.c_uint64(address), ctypes.c_size_t(host.nbytes))

    def to_device(self, address: int, host: Array) -> None:
        """Copy to the device, and wait."""
        place = ctypes.c_void_p(host.ctypes.data)
        self._check("cuMemcpyHtoD_v2", ctypes.c_uint64(address), place, ctypes.c_size_t(host.nbytes))


@cache
def current() -> Device:
    """The way to the device's memory."""
    return CudaDriver()


def aware() -> bool:
    """Whether the environment says that MPI takes device memory; ``COMMSIM_CUDA_AWARE=0`` overrules the others."""
    found = (os.environ.get(name) for name in AWARE_VARIABLES)
    return next((value not in ("0", "false", "no") for value in found if value), False)
