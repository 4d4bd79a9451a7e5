"""A diagnosis as one self-contained HTML page, with the figures that a person would want."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from jaxopt_lab import reporting
from jaxopt_lab.diagnosis.figures import draw_curvature, draw_layers, draw_losses, draw_proof
from jaxopt_lab.diagnosis.findings import Diagnosis, Finding
from jaxopt_lab.diagnosis.proving import Proof
from jaxopt_lab.diagnosis.wording import prediction_of, verdict_of


@dataclasses.dataclass(frozen=True)
class _Part:
    finding: Finding
    gain: str
    proof: Proof | None


def page_of(diagnosis: Diagnosis, proofs: Sequence[Proof] = ()) -> str:
    """The page as text.

    Args:
      diagnosis: with its evidence.
      proofs: of its prescriptions.

    Returns:
      HTML that asks for nothing from elsewhere.
    """
    proven = {proof.cause: proof for proof in proofs}
    parts = [_Part(found, prediction_of(found), proven.get(found.cause)) for found in diagnosis.findings]
    return reporting.render_template(
        "diagnosis.html.j2", diagnosis=diagnosis, verdict=verdict_of(diagnosis), parts=parts,
        figures=_figures(diagnosis, proofs),
    )  # fmt: skip


def _figures(diagnosis: Diagnosis, proofs: Sequence[Proof]) -> list[dict[str, Any]]:
    known, found = diagnosis.evidence, []
    with reporting.house_style() as maker:
        drawn = [draw(known, maker) for draw in (draw_losses, draw_curvature, draw_layers)]
        drawn += [draw_proof(proof, maker) for proof in proofs]
        for place, pair in enumerate(each for each in drawn if each is not None):
            figure, caption = pair
            svg = reporting.svg_text(figure)
            image = reporting.inline_svg(svg, prefix=f"figure-{place}", label=caption)
            found.append({"image": image, "caption": caption})
    return found
