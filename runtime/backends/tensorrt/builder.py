"""From the verified bytes of a graph to an engine in the store, in a process of its own."""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import json
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import BinaryIO

from cmc_sdk import errors
from cmc_sdk.bundle.manifest import Graph
from cmc_sdk.errors import BackendError, CmcError
from cmc_sdk.runtime.backends.tensorrt.build_key import BuildKey
from cmc_sdk.runtime.backends.tensorrt.request import BuildAnswer, BuildRequest
from cmc_sdk.runtime.backends.tensorrt.store import EngineRecord, EngineStore
from cmc_sdk.runtime.onnx.external import refuse_external_data

__all__ = ["BuildJob", "build_engine"]

# The child finds what this process finds, but nothing that lies in the folder where it happens to be started.
_PROGRAM = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from cmc_sdk.runtime.backends.tensorrt.worker import main; main()"
)


@dataclass(frozen=True)
class BuildJob:
    """One engine to build.

    Args:
        key: What it is built from; its capabilities say for which devices.
        graph: As the manifest lists it.
        bundle: Name and version of the bundle, for people.
        in_place: Whether that device is this machine's.
        workspace_bytes: Most device memory that a layer may take beside its tensors; None: the library's choice.
    """

    key: BuildKey
    graph: Graph
    bundle: str
    in_place: bool
    workspace_bytes: int | None = None


def build_engine(job: BuildJob, *, data: bytes, store: EngineStore) -> EngineRecord:
    """Build an engine in a child process and keep it.

    The builder's log is kept too, whether it worked or not, as `<key>.log` in the state folder.

    Args:
        job: What to build.
        data: The graph, whose hash has been checked: the very buffer that is parsed.
        store: Where it is kept.

    Raises:
        BundleError: The graph is not what the manifest says, or TensorRT does not understand it.
        BackendError: TensorRT is missing, refuses the graph, crashed, or was killed for want of memory.
        ResourceError: The disk is full.
    """
    refuse_external_data(data, name=job.graph.path)
    notes_name = f"{job.key.flavour}-{job.key.version}-{job.key.targets}"
    notes = store.timing_cache(notes_name) if job.in_place else b""
    request = BuildRequest(
        flavour=job.key.flavour,
        capabilities=job.key.capabilities,
        in_place=job.in_place,
        path=job.graph.path,
        precision=job.key.precision,
        islands=job.graph.islands,
        inputs=job.graph.inputs,
        profiles=job.key.profiles,
        workspace_bytes=job.workspace_bytes,
        graph_bytes=len(data),
        cache_bytes=len(notes),
    )
    log_name = f"{job.key.digest}.log"
    start = time.perf_counter()
    fault: CmcError | None = None
    with store.folder.write(log_name) as log:
        try:
            answer, engine, new_notes = _run_child(request, parts=(data, notes), log=log)
        except CmcError as error:
            # Caught and raised again below, so that the log is kept.
            fault = error
    if fault is not None:
        raise type(fault)(fault.what, mend=fault.mend or f"see the log {store.folder.path / log_name}")
    record = EngineRecord(
        key=job.key,
        graph=job.graph.path,
        bundle=job.bundle,
        size=len(engine),
        sha256=hashlib.sha256(engine).hexdigest(),
        built=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        seconds=round(time.perf_counter() - start, 3),
        peak_bytes=answer.peak_bytes,
        half_nodes=answer.half_nodes,
        half_layers=answer.half_layers,
        float_layers=answer.float_layers,
        inspected_layers=answer.inspected,
    )
    store.put(record, engine)
    if new_notes:
        store.keep_timing_cache(notes_name, new_notes)
    return record


def _run_child(request: BuildRequest, *, parts: tuple[bytes, bytes], log: BinaryIO) -> tuple[BuildAnswer, bytes, bytes]:
    """The answer, the engine and the timing cache; whatever happens, no child is left behind."""
    path = [entry for entry in sys.path if entry]
    command = [sys.executable, "-I", "-c", _PROGRAM, json.dumps(path)]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log)
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        # A child that has died reads no more: what it has to say, or its exit code, says why.
        with contextlib.suppress(BrokenPipeError):
            for part in (request.model_dump_json().encode() + b"\n", *parts):
                child.stdin.write(part)
            child.stdin.close()
        line = child.stdout.readline()
        if not line.endswith(b"\n"):
            raise _crash(child.wait(), request)
        answer = BuildAnswer.model_validate_json(line)
        if answer.error is not None:
            raise getattr(errors, answer.error)(answer.what, mend=answer.mend)
        engine = child.stdout.read(answer.engine_bytes)
        notes = child.stdout.read(answer.cache_bytes)
        if len(engine) != answer.engine_bytes or len(notes) != answer.cache_bytes:
            raise _crash(child.wait(), request)
        return answer, engine, notes
    finally:
        child.kill()
        child.wait()
        for pipe in (child.stdin, child.stdout):
            with contextlib.suppress(BrokenPipeError):
                pipe.close()


def _crash(code: int, request: BuildRequest) -> CmcError:
    if code == -signal.SIGKILL:
        return BackendError(
            f"the build of {request.path} for {request.targets} was killed: most likely memory ran out",
            mend="close other programs, or give a smaller --workspace",
        )
    how = f"by signal {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
    return BackendError(f"{request.flavour} ended {how} while it built {request.path} for {request.targets}")
