"""Words that say nothing about a person: what may stay of coded strings, codes and makers."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

__all__ = ["CODED_WORDS", "MAKERS", "SCHEMES", "is_known_word", "is_standard_uid", "known_meaning"]

_WORDS = """
CT MR PT PET SEG RTSTRUCT OT DERIVED ORIGINAL PRIMARY SECONDARY OTHER NONE YES NO Y N U M F O L R B P A H T AXIAL
LOCALIZER CORONAL SAGITTAL OBLIQUE VOLUME SAMPLED DISTORTED MIXED MAXIMUM MINIMUM MEAN MEDIAN MIN_IP MAX_IP MPR MIP
PROJECTION REFORMATTED RESAMPLED ANGIO CARDIAC CINE PERFUSION DIFFUSION SPECTROSCOPY FLUOROSCOPY ADC FA TRACEW TRACE
ISOTROPIC DIRECTIONAL ANISOTROPY EXPONENTIAL EADC B0 DWI ND NORM DIS2D DIS3D MFSPLIT FM FS M_FFE M_SE M_IR R_FFE I_FFE
P_FFE PHASE MAGNITUDE REAL IMAGINARY IN_PHASE OUT_PHASE WATER FAT FFE SE PCA T1 T2 T2_STAR T1_MAP T2_MAP T2_STAR_MAP
PROTON_DENSITY FLAIR STIR TOF DIXON IP OP W OPP_PHASE MAP SUB SUBTRACTION ADDITION DIVISION MULTIPLICATION AVERAGE
RECON MOCO CSAPARALLEL PARALLEL DENSITY_MAP COMPLEX COMPLEX_COMPONENT MONOENERGETIC ENERGY CT_SOM5 SPI DET_DOT_LENGTH
SEQ SPIRAL CONSTANT_ANGLE STATIONARY STEPPED HELICAL SEQUENCED GR IR EP RM SK MTC SS TRSS SP MP OSP NLR PER RG CG PPG
PFF PFP SFS FC FREQ FSE TSE 2D 3D 4D 1D ROW COL ROW_AND_COLUMN BOTH LINEAR LINEAR_EXACT SIGMOID IDENTITY INVERSE HU US
OD MGML Z_EFF ED EDW HU_MOD PCT MONOCHROME1 MONOCHROME2 RGB YBR_FULL YBR_FULL_422 YBR_ICT YBR_RCT HFS HFP FFS FFP HFDR
HFDL FFDR FFDL LFP LFS RFP RFS ISO_METHOD 01 00 03 02 BODY HEAD SURFACE MULTICOIL QUADRATURE SOLENOID EXTREMITY
VOLUME_COIL COIL CORRECTED UNCORRECTED UNCORR ATTN DECY RADL RAN SCAT DTIM MOTN PMOT CLN NORMN DEADTIME DECAY START
ADMIN BQML GML CNTS CPS PROPCNTS PROPCPS CM2 CM2ML PCNT MGMINML MLMING SUV BW LBM LBMJANMA BSA IBW STATIC DYNAMIC
GATED WHOLE BODYWHOLE IMAGE REPROJECTION STEP TIME ENERGY_WEIGHTED SHUTTER IV ORAL RECTAL BINARY FRACTIONAL LABELMAP
OCCUPANCY PROBABILITY AUTOMATIC SEMIAUTOMATIC MANUAL UNAPPROVED APPROVED REJECTED CLOSED_PLANAR CLOSEDPLANAR_XOR POINT
OPEN_PLANAR OPEN_NONPLANAR ORGAN EXTERNAL GTV CTV PTV AVOIDANCE CONTROL SEGMENTATION COMPLETE PARTIAL VERIFIED
UNVERIFIED UNMODIFIED REMOVED MODIFIED GRAPPA SENSE ASSET SMASH SPEEDER MONOCHROME COLOR BMATRIX FILTER_BACK_PROJ
ITERATIVE CARTESIAN RADIAL SINGLE RECTILINEAR CENTRIC LINEAR_KSPACE SEGMENTED SINGLE_PULSE FULL HIGH MEDIUM LOW
RESEARCH PRODUCT SERVICE CONTINUOUS CENTERED REGULAR SPATIAL TEMPORAL EPI INFERIOR SUPERIOR ANTERIOR POSTERIOR AP PA
LL RL 3D_STACK STACK DIMENSION FRAME SERIES STUDY PATIENT TISSUE CAVITY ABDOMEN BRAIN CHEST NECK PELVIS PROSTATE LIVER
KIDNEY SPLEEN PANCREAS HEART LUNG BREAST SPINE CSPINE TSPINE LSPINE HIP KNEE SHOULDER ANKLE FOOT HAND WRIST ELBOW LEG
ARM SKULL HEADNECK CHESTABDPELVIS ABDOMENPELVIS CHESTABDOMEN WHOLEBODY BLADDER UTERUS THORAX COLON AORTA LOWERLIMB
UPPERLIMB BILATERAL LEFT RIGHT UNPAIRED IEC FDA MHW IEC_NORMAL IEC_FIRST_LEVEL IEC_SECOND_LEVEL IEC_WHOLE_BODY
IEC_PARTIAL_BODY IEC_HEAD IEC_LOCAL RF GRADIENT SPIN FLOW_ENCODED FLUID_ATTENUATED TAGGING UNKNOWN DB_DT
ELECTRIC_FIELD PER_NERVE_STIM COLUMN 1H 3HE 7LI 13C 19F 23NA 31P 129XE SMS COMPRESSED_SENSE SLAB FAT_AND_WATER
SILICON_GEL REVERSE_LINEAR REVERSE_CENTRIC ACCELERATION VELOCITY FREQUENCY SLICE_SELECT SLICE_AND_FREQ
SLICE_FREQ_PHASE PHASE_AND_FREQ SLICE_AND_PHASE REALTIME PROSPECTIVE RETROSPECTIVE PACED BREATH_HOLD GATING TRACKING
PHASE_ORDERING PHASE_SCANNING CORRECTION CW CC PARTIAL_FOURIER WEDGE BUTTERFLY STRIP FLAT MULTIPLE EXPOSUREMODTYPE
DOSE_RD LOCALIZED TIMED EXTERNAL_MAGNET CYLINDER SPHERE SIEMENS_MED NORMAL STEADY_STATE TRANSVERSE LONGITUDINAL LONG
TRANS BALANCED PRESCAN_NORM POSITIVE NEGATIVE PRE POST ARTERIAL VENOUS DELAYED
"""
_PHRASES = ("AXIAL MODE", "HELICAL MODE", "SCOUT MODE", "CINE MODE", "PALETTE COLOR", "STATIC FIELD")
CODED_WORDS = frozenset({*_WORDS.split(), *_PHRASES})
"""Values of coded strings (VR CS) that the standard or a maker defines and that stay."""

MAKERS = frozenset(
    word.upper()
    for word in (
        "SIEMENS", "Siemens Healthineers", "SIEMENS NIXDORF", "GE MEDICAL SYSTEMS", "GE Healthcare", "Philips",
        "Philips Medical Systems", "Philips Healthcare", "TOSHIBA", "TOSHIBA_MEC", "CANON_MEC", "Canon Medical Systems",
        "Hitachi", "Hitachi Medical Corporation", "FUJIFILM", "UIH", "United Imaging", "Hyperfine", "Neusoft", "CPS",
        "Bruker", "Bruker BioSpin MRI GmbH", "Esaote", "Samsung Electronics", "Carestream Health", "cmc-sdk", "ELSCINT",
        "Picker International, Inc.", "Marconi Medical Systems, Inc.", "ADAC", "Mediso", "NeuroLogica", "Accuray",
    )
)  # fmt: skip
"""Names of makers, in capitals."""

SCHEMES = frozenset({"SCT", "SRT", "DCM", "UCUM", "LN", "RADLEX", "FMA", "NCIt", "IBSI"})
"""Coding schemes that the standard names."""

_UNITS = {
    "1": "no units", "mm2/s": "mm2/s", "um2/s": "um2/s", "10-3.mm2/s": "10-3.mm2/s", "10-6.mm2/s": "10-6.mm2/s",
    "10-6mm2/s": "10-6mm2/s", "10*-6.mm2/s": "10*-6.mm2/s", "Bq/ml": "Bq/ml", "Bq/mL": "Bq/mL", "g/ml": "g/ml",
    "g/ml{SUVbw}": "Standardized Uptake Value body weight", "{SUVbw}g/ml": "Standardized Uptake Value body weight",
    "[hnsf'U]": "Hounsfield unit", "ms": "ms", "s": "s", "%": "%", "ml/min": "ml/min", "ml": "ml", "mm": "mm",
}  # fmt: skip
_DIRECTION = re.compile(r"[LRAPHF]{0,3}")  # of rows and columns, as in Patient Orientation


def is_known_word(word: str) -> bool:
    """Whether a coded string may stay."""
    return word in CODED_WORDS or _DIRECTION.fullmatch(word) is not None


def is_standard_uid(uid: str) -> bool:
    """Whether the standard itself registers a UID: of a class, a transfer syntax, a coding scheme."""
    from pydicom.uid import UID

    return str(UID(uid).name) != uid


def known_meaning(value: str, scheme: str) -> str | None:
    """The meaning of a code by pydicom's dictionaries, never by the file; None for a code that they do not hold."""
    scheme = scheme.strip()
    if scheme == "UCUM" and value in _UNITS:
        return _UNITS[value]
    meaning = _meanings().get((scheme, value))
    return meaning if meaning is not None and meaning.isascii() else None


@cache
def _meanings() -> dict[tuple[str, str], str]:
    from pydicom.sr._concepts_dict import concepts
    from pydicom.sr._snomed_dict import mapping

    found: dict[tuple[str, str], str] = {}
    for scheme in sorted(SCHEMES & set(concepts)):
        terms: dict[str, Any] = concepts[scheme]
        for term in terms.values():
            for value, (meaning, _) in term.items():
                found[scheme, value] = min(found.get((scheme, value), meaning), meaning, key=len)
    older = {("SRT", old): found[("SCT", new)] for old, new in mapping["SRT"].items() if ("SCT", new) in found}
    return {**found, **older}
