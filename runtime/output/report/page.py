"""The report of one result: what was found, how sure the network was, and how it was made."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cmc_sdk.bundle.manifest import ModelSpec
from cmc_sdk.imaging.classes import ClassTable, SegmentClass
from cmc_sdk.imaging.volume import Volume
from cmc_sdk.pages.picture import data_uri
from cmc_sdk.pages.shell import SWITCHES, badge, escape, facts, legend, page, swatch, table
from cmc_sdk.runtime.output.report.planes import Picture, Plane, Planes, confidence_overlay, cut_planes, label_overlay

if TYPE_CHECKING:
    from cmc_sdk.runtime.results.result import Result

__all__ = ["class_legend", "plane_figures", "render_report"]


def render_report(
    result: Result, *, images: Mapping[str, Volume], spec: ModelSpec, record: Mapping[str, Any], title: str = ""
) -> str:
    """One self-contained HTML page about `result`.

    Args:
        result: Of `Session.infer`.
        images: The scans that were given, by modality.
        spec: Of the bundle: classes with colours, intensity rules.
        record: The run record as plain JSON values, shown in full.
        title: Heading; None: the bundle's name and version.
    """
    heading = title or _bundle_name(record)
    body = [
        f"<h1>{escape(heading)}</h1>",
        f'<p class="dim">{escape(_origin(record))}</p>',
        '<p class="dim small">A research result: not for diagnosis or treatment.</p>',
        SWITCHES,
        _quality_section(result),
        _volumes_section(result, classes=spec.classes),
    ]
    for modality in result.labels:
        clip = spec.modality(modality).intensity.clip
        planes = cut_planes(
            images[modality], labels=result.labels[modality], confidence=result.confidence[modality], clip=clip
        )
        body.append(_modality_section(modality, planes, image=images[modality], spec=spec))
    body.append(_record_section(record))
    return page(heading, body="\n".join(body))


def _quality_section(result: Result) -> str:
    reasons = "".join(f"<li>{escape(str(reason))}</li>" for reason in result.quality.reasons)
    listed = f"<ul>{reasons}</ul>" if reasons else '<p class="dim">Nothing speaks against this result.</p>'
    return f"<section><h2>Quality {badge(result.quality.status)}</h2>{listed}</section>"


def _volumes_section(result: Result, *, classes: ClassTable) -> str:
    head = ["Organ"]
    for modality in result.labels:
        head += [f"{modality}, ml", f"{modality}, mean confidence"]
    rows = []
    sure = {name: _mean_confidence(result.labels[name], result.confidence[name]) for name in result.labels}
    for item in classes.classes:
        cells = [_swatch(item)]
        for modality in result.labels:
            volume = result.volumes_ml[modality].get(item.name, 0.0)
            confidence = sure[modality].get(item.index)
            cells += [f"{volume:,.1f}", "–" if confidence is None else f"{confidence:.2f}"]
        rows.append(cells)
    return f"<section><h2>Volumes</h2>{table(head, rows=rows)}</section>"


def _mean_confidence(labels: Volume, confidence: Volume) -> dict[int, float]:
    """Mean confidence over the voxels of each class that is there."""
    count, total = np.zeros(256), np.zeros(256)
    for place in range(labels.size_vox[2]):  # by slices: weights are float64, eight times the size of a label map
        marks = labels.stored[:, :, place].ravel()
        count += np.bincount(marks, minlength=256)
        total += np.bincount(marks, weights=confidence.stored[:, :, place].ravel(), minlength=256)
    return {int(index): float(total[index] / count[index] / 255.0) for index in np.flatnonzero(count)}


def _modality_section(modality: str, planes: Planes, *, image: Volume, spec: ModelSpec) -> str:
    size = " × ".join(str(count) for count in image.size_vox)
    spacing = " × ".join(f"{step:.4g}" for step in image.spacing_mm)
    position = ", ".join(
        f"{positive if value >= 0 else negative} {abs(value):.0f}"
        for value, positive, negative in zip(planes.point_mm, ("R", "A", "S"), ("L", "P", "I"), strict=True)
    )
    unit = " HU" if spec.modality(modality).intensity.unit == "HU" else ""
    low, high = planes.window
    where = "Nothing was labelled; the planes meet in the middle." if planes.empty else "Planes through the label."
    doubts = [confidence_overlay(plane.confidence) for plane in planes.planes]
    scale = '<span class="scale" style="background:linear-gradient(90deg,rgb(255,40,40),rgb(255,225,40));"></span>'
    return (
        f"<section><h2>{escape(modality)}</h2>"
        f'<p class="dim small">{size} voxels of {spacing} mm · shown from {low:.4g} to {high:.4g}{unit} · '
        f"{where} They meet at {position} mm.</p>"
        f"{plane_figures(planes, classes=spec.classes)}{class_legend([planes], classes=spec.classes)}"
        f"<h3>Where the network was unsure</h3>{_figures(planes, doubts)}"
        f'<p class="dim small">confidence ≤ 0.5{scale}0.98; above, no mark</p></section>'
    )


def plane_figures(planes: Planes, *, classes: ClassTable) -> str:
    """Three pictures in a row with the labels laid over."""
    return _figures(planes, [label_overlay(plane.labels, classes=classes) for plane in planes.planes])


def class_legend(planes: Sequence[Planes], *, classes: ClassTable) -> str:
    """The colours of the classes that are seen in any of the pictures."""
    shown = {value for cut in planes for plane in cut.planes for value in np.unique(plane.labels).tolist()}
    return legend(_swatch(item) for item in classes.classes if item.index in shown)


def _figures(planes: Planes, marks: Sequence[Picture]) -> str:
    cuts = zip(planes.planes, marks, strict=True)
    figures = "".join(_figure(plane, image=data_uri(plane.grey), mark=data_uri(mark)) for plane, mark in cuts)
    return f'<div class="planes">{figures}</div>'


def _figure(plane: Plane, *, image: str, mark: str) -> str:
    ratio = plane.width_mm / plane.height_mm
    extent = "width:100%" if ratio >= 1 else "height:100%"
    left, right, top, bottom = (escape(side) for side in plane.sides)
    across, down = plane.cross
    return (
        f'<figure><div class="frame"><div class="cut" style="{extent};aspect-ratio:{ratio:.5f}">'
        f'<img src="{image}" alt="{plane.name} plane"><img class="mark" src="{mark}" alt="overlay">'
        f'<i class="v" style="left:{across:.2%}"></i><i class="h" style="top:{down:.2%}"></i>'
        f'<b class="l">{left}</b><b class="r">{right}</b><b class="t">{top}</b><b class="b">{bottom}</b></div></div>'
        f"<figcaption>{plane.name}, {plane.slice_number} of {plane.slices}</figcaption></figure>"
    )


def _record_section(record: Mapping[str, Any]) -> str:
    text = escape(json.dumps(record, indent=2, default=str))
    known = facts((name, value) for name, value in _facts(record) if value)
    return (
        f"<section><h2>Run record</h2>{known}"
        f"<details><summary>all of record.json</summary><pre>{text}</pre></details></section>"
    )


def _facts(record: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What a reader looks for first; what a record lacks comes out empty."""
    bundle = record.get("bundle") or {}
    seconds = record.get("seconds") or {}
    yield "time", str(record.get("time_utc", ""))
    yield "bundle", " ".join(str(bundle[key]) for key in ("name", "version", "manifest_sha256") if bundle.get(key))
    yield "signed by", str(record.get("trust") or "")
    yield "software", " ".join(f"cmc-sdk {record[key]}" for key in ("code_version",) if key in record)
    yield "computed with", _join(record, ("backend", "precision", "device"))
    yield "threads", str(record.get("threads") or "")
    yield "windows", _join(record, ("windows_run", "windows_reused"), words=("run", "reused"))
    yield "seconds", ", ".join(f"{stage} {spent:.2f}" for stage, spent in seconds.items() if spent >= 0.005)
    peak = record.get("peak_rss_bytes")
    yield "peak memory", f"{peak / 1e6:,.0f} MB" if peak else ""
    for modality, scan in (record.get("inputs") or {}).items():
        yield f"voxels of {modality}", f"sha256 {scan['voxels_sha256']}"
    for warning in record.get("warnings") or ():
        yield "warning", str(warning)


def _join(record: Mapping[str, Any], keys: Sequence[str], words: Sequence[str] = ()) -> str:
    named = zip(keys, words or ("",) * len(keys), strict=True)
    return ", ".join(f"{record[key]} {word}".strip() for key, word in named if record.get(key) is not None)


def _bundle_name(record: Mapping[str, Any]) -> str:
    bundle = record.get("bundle")
    if isinstance(bundle, Mapping):
        return f"{bundle.get('name', 'segmentation')} {bundle.get('version', '')}".strip()
    return str(bundle or "Segmentation")


def _origin(record: Mapping[str, Any]) -> str:
    given = [name for name, there in (record.get("presence") or {}).items() if there]
    parts = (" + ".join(given), record.get("backend"), record.get("precision"), record.get("time_utc"))
    return " · ".join(str(part) for part in parts if part)


def _swatch(item: SegmentClass) -> str:
    red, green, blue = item.color
    return swatch(f"rgb({red},{green},{blue})", item.name)
