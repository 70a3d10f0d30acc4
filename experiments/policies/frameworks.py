"""Frameworks by name: each a policy of the other files, as its source says that it exchanges."""

from __future__ import annotations

from dataclasses import replace

from commsim.errors import InputError
from experiments.policies.backends import BACKENDS
from experiments.policies.policy import Policy
from experiments.policies.replicated import MIB, ddp, horovod, one_bit, one_bucket, per_tensor, positive
from experiments.policies.sharded import fsdp, parameter_server
from experiments.policies.step import Call, Compute


def osu_caffe() -> Policy:
    """OSU-Caffe (S-Caffe): each layer is reduced to the root by a tree while the backward pass goes on.

    The root updates, and each layer is broadcast while the forward pass of the layers before it goes on.
    """

    def emit(compute: Compute) -> list[Call]:
        pushes = [
            compute.call("reduce", [one], algorithm="binomial", stream="reduce", priority=one.layer)
            for one in compute.gradients
        ]
        return [*pushes, *(_broadcast(compute, push) for push in reversed(pushes))]

    return Policy("osu_caffe", emit, "Awan et al., S-Caffe, PPoPP 2017, sections 4.1-4.3", BACKENDS["cuda_mpi"])


def _broadcast(compute: Compute, push: Call) -> Call:
    """The layer's new parameters, once the root has updated them."""
    after, before = compute.optimizer, compute.next_forward(push.priority)
    ready_s = compute.end_s(after)
    return replace(push, collective="broadcast", ready_s=ready_s, after=after, before=before, stream="broadcast")


def tensorflow(update: str = "collective", pack_bytes: int = 50 * MIB, servers: int = 1) -> Policy:
    """TensorFlow: collective all-reduce in packs, or parameter servers that variables are dealt to."""
    positive("tensorflow", pack=pack_bytes)
    if update == "collective":
        found = replace(
            ddp(pack_bytes, pack_bytes, buffers=0), source="tf.distribute CommunicationOptions, bytes_per_pack"
        )
    elif update == "parameter_server":
        source = "Abadi et al., TensorFlow, OSDI 2016, section 4.4; tf.train.replica_device_setter: round robin"
        found = replace(parameter_server(servers), source=source)
    else:
        raise InputError(f"policy 'tensorflow': update={update}; use collective or parameter_server")
    return replace(found, name="tensorflow")


def pytorch(shards: str = "none") -> Policy:
    """PyTorch: DDP, or with `shards=full` FSDP."""
    if shards not in ("none", "full"):
        raise InputError(f"policy 'pytorch': shards={shards}; use none (DDP) or full (FSDP)")
    return ddp() if shards == "none" else fsdp()


def mxnet(split_elements: int = 1_000_000, servers: int = 0) -> Policy:
    """MXNet's KVStore: a key for each tensor, pushed as it is ready, the first layers first.

    Large arrays are shared by all servers, others dealt to them; with `servers=0` all are shared.
    """
    source = "Chen et al., MXNet, arXiv:1512.01274, section 3.3; MXNET_KVSTORE_BIGARRAY_BOUND"
    return replace(parameter_server(servers, split_elements), name="mxnet", source=source)


def cntk(bits: int = 1) -> Policy:
    """CNTK: 1-bit SGD, or with `bits=32` its plain data-parallel SGD."""
    if bits not in (1, 32):
        raise InputError(f"policy 'cntk': bits={bits}; use 1 or 32")
    if bits == 1:
        return replace(one_bit(), name="cntk", backend=BACKENDS["mpi"])
    return replace(one_bucket(), name="cntk", source="Seide, Agarwal, CNTK, KDD 2016", backend=BACKENDS["mpi"])


def chainermn() -> Policy:
    """ChainerMN's pure_nccl communicator: one packed buffer after the backward pass."""
    return replace(
        one_bucket(), name="chainermn", source="Akiba, Fukuda, Suzuki, ChainerMN, arXiv:1710.11351, section 3"
    )


def bigdl() -> Policy:
    """BigDL: gradients in one share for each task, summed there, and the new parameters read back; no overlap.

    Both travel with 16 bits.
    """

    def emit(compute: Compute) -> list[Call]:
        shuffle = compute.call("reduce_scatter", compute.gradients, after=compute.backward(0), algorithm="linear")
        read = {"after": compute.optimizer, "before": compute.next_forward(0), "algorithm": "linear"}
        return [shuffle, compute.call("allgather", compute.gradients, **read)]

    source = "Dai et al., BigDL, SoCC 2019, section 3.3; AllReduceParameter, compress = fp16"
    sharded = frozenset({"optimizer"})
    return Policy("bigdl", emit, source, BACKENDS["mpi"], wire="float16", sharded=sharded)


def lbann() -> Policy:
    """LBANN with Aluminum: a non-blocking allreduce for the weights of each layer, overlapped."""
    source = "Van Essen et al., LBANN, MLHPC 2015; Dryden et al., Aluminum, MLHPC 2018, section 4"
    return replace(per_tensor(), name="lbann", source=source)


FRAMEWORKS = (osu_caffe, tensorflow, pytorch, horovod, mxnet, cntk, chainermn, bigdl, lbann)
"""Those that policies are named after."""
