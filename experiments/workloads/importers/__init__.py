"""Workloads from what frameworks write: networks (ONNX, modules) and recorded steps (DDP, Kineto, Horovod, Chakra)."""
