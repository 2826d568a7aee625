"""The child process that builds one engine and ends: a compiler that crashes takes nothing else with it."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any

from cmc_sdk.errors import BackendError, BundleError, CmcError, InputError
from cmc_sdk.runtime.backends.tensorrt.flavour import Flavour, load_flavour
from cmc_sdk.runtime.backends.tensorrt.request import BuildAnswer, BuildRequest
from cmc_sdk.runtime.backends.tensorrt.typecheck import TypeReport, check_engine, check_network, read_network

__all__ = ["build", "main"]


def main() -> None:
    """Read a `BuildRequest` line, the graph and the timing cache from standard input; answer on standard output.

    All that libraries print goes to standard error, which is the log.
    """
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    source = sys.stdin.buffer
    request = BuildRequest.model_validate_json(source.readline())
    data, notes = source.read(request.graph_bytes), source.read(request.cache_bytes)
    try:
        answer, engine, notes = build(request, data=data, notes=notes)
    except CmcError as error:
        answer, engine, notes = BuildAnswer(error=type(error).__name__, what=error.what, mend=error.mend), b"", b""
    except MemoryError:
        words = f"memory ran out while {request.path} was built for {request.targets}"
        answer = BuildAnswer(error="BackendError", what=words, mend="close other programs")
        engine = notes = b""
    answers.write(answer.model_copy(update={"peak_bytes": _peak_bytes()}).model_dump_json().encode() + b"\n")
    for part in (engine, notes):
        answers.write(part)
    answers.close()
    # Without the libraries' own clearing up: they have been seen to crash in it where there is no driver.
    os._exit(0)


def build(request: BuildRequest, *, data: bytes, notes: bytes) -> tuple[BuildAnswer, memoryview | bytes, bytes]:
    """The answer, the engine and the timing cache.

    Raises:
        BundleError: The graph is no ONNX model, uses what TensorRT does not know, or is not of its precision.
        BackendError: TensorRT cannot build it.
    """
    flavour = load_flavour(request.flavour)
    trt = flavour.module
    log = _log(trt)
    builder = _builder(flavour, log)
    network = flavour.create_network(builder)
    parser = trt.OnnxParser(network, log)
    if not parser.parse(data):
        errors = [parser.get_error(index) for index in range(parser.num_errors)]
        words = errors[0].desc() if errors else "it does not say why"
        raise BundleError(
            f"{flavour.name} {flavour.version} does not understand {request.path}: {words}",
            mend="export the bundle again with this cmc-sdk",
        )
    report = check_network(
        read_network(network), precision=request.precision, islands=request.islands, path=request.path
    )
    _check_border(network, request)
    elsewhere = () if request.in_place else request.capabilities
    config = flavour.create_config(builder, workspace_bytes=request.workspace_bytes, capabilities=elsewhere)
    flavour.use_timing_cache(config, notes)
    for profile in request.profiles:
        _add_profile(builder, config, profile=profile, request=request)
    engine = builder.build_serialized_network(network, config)
    if engine is None:
        raise BackendError(
            f"{flavour.name} {flavour.version} refuses {request.path} for {request.targets}: {_why(log.errors)}",
            mend=_way_out(request),
        )
    view = memoryview(engine).cast("B")
    inspected = _inspect(flavour, log, view, request=request, report=report) if request.in_place else None
    answer = BuildAnswer(
        half_nodes=tuple(sorted(report.half_nodes)),
        half_layers=report.half,
        float_layers=report.single,
        inspected=inspected,
        engine_bytes=len(view),
        cache_bytes=len(new_notes := flavour.read_timing_cache(config)),
    )
    return answer, view, new_notes


def _log(trt: Any) -> Any:
    class Log(trt.ILogger):  # type: ignore[misc]
        """Writes all but the most talkative lines to the log, and keeps the errors."""

        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity == trt.ILogger.Severity.VERBOSE:
                return
            if severity in (trt.ILogger.Severity.ERROR, trt.ILogger.Severity.INTERNAL_ERROR):
                self.errors.append(message)
            sys.stderr.write(f"{str(severity).rpartition('.')[2]}: {message}\n")

    return Log()


def _builder(flavour: Flavour, log: Any) -> Any:
    try:
        return flavour.module.Builder(log)
    except TypeError as error:  # its factory gave nothing
        why = log.errors[-1] if log.errors else str(error)
        raise BackendError(
            f"{flavour.name} {flavour.version} makes no builder here: {why}", mend="check the driver with `cmc doctor`"
        ) from error


def _check_border(network: Any, request: BuildRequest) -> None:
    found = {}
    for index in range(network.num_inputs):
        tensor = network.get_input(index)
        found[tensor.name] = (tensor.dtype.name, tuple(None if size < 0 else size for size in tensor.shape))
    listed = {item.name: ("FLOAT" if item.dtype == "float32" else "HALF", item.shape) for item in request.inputs}
    if found != listed:
        raise BundleError(
            f"{request.path} takes {found}, the manifest lists {listed}", mend="get the bundle again from its maker"
        )


def _add_profile(builder: Any, config: Any, *, profile: Any, request: BuildRequest) -> None:
    described = builder.create_optimization_profile()
    for item in request.inputs:
        sizes = [(batch, *item.shape[1:]) for batch in (profile.least, profile.best, profile.most)]
        described.set_shape(item.name, *sizes)
    if config.add_optimization_profile(described) < 0:
        raise InputError(f"{request.path} takes no batch of {profile.least} to {profile.most}", mend="export it again")


def _inspect(flavour: Flavour, log: Any, engine: memoryview, *, request: BuildRequest, report: TypeReport) -> int:
    """The engine's own types, on the device that it was built on. Needs a driver: without one this ends the process."""
    trt = flavour.module
    opened = trt.Runtime(log).deserialize_cuda_engine(bytes(engine))
    if opened is None:
        raise BackendError(
            f"the engine of {request.path} cannot be loaded on the device that built it",
            mend="see the log in the state folder; check that the driver fits this TensorRT",
        )
    information = opened.create_engine_inspector().get_engine_information(trt.LayerInformationFormat.JSON)
    return check_engine(information, precision=request.precision, half_nodes=report.half_nodes, path=request.path)


def _why(errors: list[str]) -> str:
    """The last error; of the compiler's own only what it says, without where in itself: the log has it whole."""
    if not errors:
        return "it does not say why"
    found = re.search(r"Cannot compile operation '([^']+)' for [^:]+: (.+?)\. In \w+ at ", errors[-1])
    return f"{found[2]}, first in {found[1]!r}" if found else errors[-1]


def _way_out(request: BuildRequest) -> str:
    if "sm75" in request.capabilities:
        return "it takes fp16 graphs whose islands hold no convolution and no matrix product; or use a CPU backend"
    return "see the builder's log in the state folder"


def _peak_bytes() -> int | None:
    """This program's own peak; the system's other counter begins at that of the process that started it."""
    try:
        line = next(row for row in Path("/proc/self/status").read_text().splitlines() if row.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    except (OSError, StopIteration, ValueError, IndexError):
        return None
