"""A stand-in for TensorRT's Python module, written out as `tensorrt.py` or `tensorrt_rtx.py` by a fixture.

It parses with onnx, and its engines are the ONNX files themselves, run by ONNX Runtime on addresses of the machine's
own memory. An ONNX file's metadata tells it to misbehave: `{"fake": "crash"}`.
"""

from __future__ import annotations

import ctypes
import enum
import json
import os
import signal
import sys

import numpy as np
import onnx

__version__ = "VERSION"
ALWAYS_TYPED = __version__.startswith("11") or "rtx" in __name__
MAGIC = b"fake-engine:"
KINDS = {"Conv": "CONVOLUTION", "MatMul": "MATRIX_MULTIPLY", "Cast": "CAST", "Constant": "CONSTANT"}
TYPES = {1: "FLOAT", 10: "HALF", 6: "INT32", 7: "INT64", 9: "BOOL"}


class BuilderFlag(enum.Enum):
    TF32 = 1


class ProfilingVerbosity(enum.Enum):
    DETAILED = 1


class MemoryPoolType(enum.Enum):
    WORKSPACE = 0


class LayerInformationFormat(enum.Enum):
    JSON = 1


class TensorIOMode(enum.Enum):
    INPUT = 1
    OUTPUT = 2


class DataType(enum.Enum):
    FLOAT = 1
    HALF = 10
    INT32 = 6
    INT64 = 7
    BOOL = 9


class LayerType(enum.Enum):
    CONVOLUTION = 0
    MATRIX_MULTIPLY = 1
    CAST = 2
    CONSTANT = 3
    ELEMENTWISE = 4


if not __version__.startswith("10.2"):

    class NetworkDefinitionCreationFlag(enum.IntEnum):
        STRONGLY_TYPED = 1


if "rtx" in __name__:

    class ComputeCapability(enum.Enum):
        NONE = 0
        CURRENT = 1
        SM75 = 75
        SM86 = 86
        SM120 = 120


class ILogger:
    class Severity(enum.Enum):
        INTERNAL_ERROR = 0
        ERROR = 1
        WARNING = 2
        INFO = 3
        VERBOSE = 4


class Tensor:
    def __init__(self, name, dtype, shape=()):
        self.name, self.dtype, self.shape = name, DataType[dtype], shape


class Layer:
    def __init__(self, node, types):
        self.name, self.metadata = node.name, f"[ONNX Layer: {node.name}]"
        self.type = LayerType[KINDS.get(node.op_type, "ELEMENTWISE")]
        self._in = [Tensor(name, types.get(name, "FLOAT")) for name in node.input if name]
        self._out = [Tensor(name, types.get(name, "FLOAT")) for name in node.output]
        self.num_inputs, self.num_outputs = len(self._in), len(self._out)

    def get_input(self, index):
        return self._in[index]

    def get_output(self, index):
        return self._out[index]


class Network:
    def __init__(self, flags):
        self.flags, self.model, self.layers, self.inputs = flags, None, [], []

    def get_flag(self, flag):
        return bool(self.flags & 1 << int(flag))

    def get_layer(self, index):
        return self.layers[index]

    def get_input(self, index):
        return self.inputs[index]

    num_layers = property(lambda self: len(self.layers))
    num_inputs = property(lambda self: len(self.inputs))


class Fault:
    def __init__(self, words):
        self._words = words

    def desc(self):
        return self._words


class OnnxParser:
    def __init__(self, network, log):
        self._network, self._errors = network, []

    def parse(self, data):
        try:
            model = onnx.shape_inference.infer_shapes(onnx.load_from_string(data))
        except Exception as error:
            self._errors.append(Fault(f"no ONNX: {error}"))
            return False
        graph = model.graph
        types = {value.name: TYPES[value.data_type] for value in graph.initializer}
        for value in (*graph.input, *graph.output, *graph.value_info):
            types[value.name] = TYPES[value.type.tensor_type.elem_type]
        self._network.model = model
        self._network.layers = [Layer(node, types) for node in graph.node]
        for value in graph.input:
            shape = tuple(item.dim_value or -1 for item in value.type.tensor_type.shape.dim)
            self._network.inputs.append(Tensor(value.name, types[value.name], shape))
        return True

    def get_error(self, index):
        return self._errors[index]

    num_errors = property(lambda self: len(self._errors))


class Profile:
    def __init__(self):
        self.shapes = {}

    def set_shape(self, name, least, best, most):
        self.shapes[name] = (least, best, most)


class Cache:
    def __init__(self, notes):
        self.notes = notes

    def serialize(self):
        return self.notes


class Config:
    def __init__(self):
        self.profiles, self.flags, self.pools, self.cache, self.capabilities = [], {BuilderFlag.TF32}, {}, None, {}

    def clear_flag(self, flag):
        self.flags.discard(flag)

    def set_memory_pool_limit(self, pool, size):
        self.pools[pool] = size

    def create_timing_cache(self, notes):
        return Cache(notes)

    def set_timing_cache(self, cache, ignore_mismatch):
        self.cache = cache

    def get_timing_cache(self):
        return self.cache

    def set_compute_capability(self, capability, index):
        self.capabilities[index] = capability

    def add_optimization_profile(self, profile):
        self.profiles.append(profile)
        return len(self.profiles) - 1


class Builder:
    def __init__(self, log):
        self._log = log

    def create_network(self, flags):
        return Network(flags)

    def create_builder_config(self):
        return Config()

    def create_optimization_profile(self):
        return Profile()

    def build_serialized_network(self, network, config):
        told = {item.key: item.value for item in network.model.metadata_props}.get("fake")
        self._log.log(ILogger.Severity.VERBOSE, "talk")
        self._log.log(ILogger.Severity.INFO, f"building with workspace {config.pools.get(MemoryPoolType.WORKSPACE)}")
        if told == "crash":
            print("the compiler prints on standard output")
            sys.stdout.flush()
            os.kill(os.getpid(), signal.SIGSEGV)
        if told == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if told == "refuse":
            self._log.log(ILogger.Severity.ERROR, "operation 'conv' is not supported")
            return None
        if config.cache is not None:
            config.cache.notes += b"timed;"
        facts = {"told": told, "profiles": len(config.profiles), "tf32": BuilderFlag.TF32 in config.flags}
        return MAGIC + json.dumps(facts).encode() + b"\n" + network.model.SerializeToString()


class Runtime:
    def __init__(self, log):
        self._log = log

    def deserialize_cuda_engine(self, data):
        if not data.startswith(MAGIC):
            self._log.log(ILogger.Severity.ERROR, "magic tag does not match")
            return None
        facts, _, model = bytes(data)[len(MAGIC) :].partition(b"\n")
        return Engine(json.loads(facts), model)


class Engine:
    def __init__(self, facts, model):
        import onnxruntime

        self.facts = facts
        self.session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
        graph = onnx.load_from_string(model).graph
        self.half = any(value.data_type == 10 for value in graph.initializer)
        self.nodes = [node.name for node in graph.node if node.op_type in ("Conv", "MatMul")]
        inputs = {item.name: item for item in self.session.get_inputs()}
        outputs = {item.name: item for item in self.session.get_outputs()}
        self.tensors, self.inputs = {**inputs, **outputs}, list(inputs)
        self.num_io_tensors = len(self.tensors)

    def get_tensor_name(self, index):
        return list(self.tensors)[index]

    def get_tensor_mode(self, name):
        return TensorIOMode.INPUT if name in self.inputs else TensorIOMode.OUTPUT

    def get_tensor_dtype(self, name):
        return DataType.FLOAT if self.tensors[name].type == "tensor(float)" else DataType.HALF

    def create_engine_inspector(self):
        return self

    def get_engine_information(self, form):
        kind = "FP16" if self.half or self.facts["told"] == "silently-half" else "FP32"
        tensors = [{"Name": "t", "Format/Datatype": f"Row major linear {kind}"}]
        layers = [
            {"Name": name, "Inputs": tensors, "Outputs": tensors, "Metadata": f"[ONNX Layer: {name}]"}
            for name in self.nodes
        ]
        return json.dumps({"Layers": layers or [{"Name": "none", "Inputs": [], "Outputs": []}]})

    def create_execution_context(self):
        return Context(self)


class Context:
    def __init__(self, engine):
        self._engine, self._shapes, self._addresses, self.profile = engine, {}, {}, None

    def set_optimization_profile_async(self, index, stream):
        self.profile = index
        return index < self._engine.facts["profiles"]

    def set_input_shape(self, name, shape):
        wanted = self._engine.tensors[name].shape
        self._shapes[name] = tuple(shape)
        return all(not isinstance(n, int) or n == m for n, m in zip(wanted, shape, strict=True))

    def get_tensor_shape(self, name):
        batch = next(iter(self._shapes.values()))[0]
        return tuple(n if isinstance(n, int) else batch for n in self._engine.tensors[name].shape)

    def set_tensor_address(self, name, address):
        self._addresses[name] = address

    def execute_async_v3(self, stream):
        arrays = {}
        for name in self._engine.inputs:
            shape = self._shapes[name]
            source = (ctypes.c_float * int(np.prod(shape))).from_address(self._addresses[name])
            arrays[name] = np.frombuffer(source, np.float32).reshape(shape).copy()
        outputs = [name for name in self._engine.tensors if name not in self._engine.inputs]
        for name, array in zip(outputs, self._engine.session.run(outputs, arrays), strict=True):
            found = np.ascontiguousarray(array, np.float32)
            ctypes.memmove(self._addresses[name], found.ctypes.data, found.nbytes)
        return True
