"""ONNX Runtime's providers: what is asked of each, and whether it really works here."""

from __future__ import annotations

from typing import Any, Literal

__all__ = ["PROVIDERS", "ProviderName", "open_session", "probe_provider"]

ProviderName = Literal["onnxruntime", "onnxruntime-cuda", "onnxruntime-tensorrt"]

PROVIDERS: dict[ProviderName, tuple[tuple[str, dict[str, str]], ...]] = {
    "onnxruntime": (("CPUExecutionProvider", {}),),
    # Without this CUDA rounds the inputs of FP32 convolutions to ten bits of mantissa.
    "onnxruntime-cuda": (("CUDAExecutionProvider", {"use_tf32": "0"}), ("CPUExecutionProvider", {})),
    # Nothing is written beside the process: no engine or timing cache.
    "onnxruntime-tensorrt": (
        ("TensorrtExecutionProvider", {"trt_engine_cache_enable": "0", "trt_timing_cache_enable": "0"}),
        ("CUDAExecutionProvider", {"use_tf32": "0"}),
        ("CPUExecutionProvider", {}),
    ),
}
"""First the one that must come. The CPU stands last: single ops may fall to it, a whole graph may not."""

# A graph that adds one number to itself, in ONNX.
_SMALLEST = bytes.fromhex(
    "08083a350a0e0a01780a017812017922034164641201675a0f0a0178120a0a08080112040a020801620f0a0179120a0a08080112040a020801"
    "42040a001012"
)


def open_session(name: ProviderName, data: bytes, *, options: Any) -> Any:
    """ONNX Runtime's session over a graph, on this provider and not silently on another.

    Where a provider's own libraries cannot be loaded, ONNX Runtime logs a warning and takes the next one.

    Args:
        name: Which.
        data: The graph's bytes.
        options: `onnxruntime.SessionOptions`.

    Raises:
        RuntimeError: The provider is not there, or left the graph to another.
        Exception: ONNX Runtime refuses the graph; its exceptions share no other base class.
    """
    import onnxruntime

    asked = PROVIDERS[name]
    first = asked[0][0]
    if first not in onnxruntime.get_available_providers():
        raise RuntimeError(f"this onnxruntime has no {first}")
    session = onnxruntime.InferenceSession(
        data, options, providers=[provider for provider, _ in asked], provider_options=[dict(own) for _, own in asked]
    )
    if session.get_providers()[0] != first:
        raise RuntimeError(f"{session.get_providers()[0]} would run instead of {first}")
    return session


def probe_provider(name: ProviderName) -> str | None:
    """Whether a provider runs the smallest graph here: None if it does, else why not. onnxruntime is installed."""
    import numpy as np

    try:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        (found,) = open_session(name, _SMALLEST, options=options).run(None, {"x": np.ones(1, np.float32)})
    except Exception as error:  # as above
        return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return None if found.tolist() == [2.0] else "1 + 1 is not 2 there"
