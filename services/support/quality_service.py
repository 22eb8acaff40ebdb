"""The gRPC servicer of quality: how sure the answers are, and how sure they have to be."""

import asyncio
from collections.abc import Sequence
from typing import TypeAlias

import grpc

from casebook.support.v1 import quality_pb2 as pb
from casebook.support.v1.quality_pb2_grpc import QualityServiceServicer
from chassis.errors import DeadlineExceeded, InvalidField, NotFound
from chassis.identity import Role, require
from support.articles import checked_base, checked_language
from support.calibration import Calibration, Calibrations
from support.corpus import Bases
from support.knowledge import LANGUAGES, KnowledgeBase, Language
from support.quality import Quality

LEAST_RISK, MOST_RISK = 0.001, 0.5

Context: TypeAlias = grpc.aio.ServicerContext


class QualityService(QualityServiceServicer):
    """`casebook.support.v1.QualityService`."""

    def __init__(self, quality: Quality, bases: Bases, calibrations: Calibrations, calibrate_seconds: float) -> None:
        self._quality = quality
        self._bases = bases
        self._calibrations = calibrations
        self._calibrate_seconds = calibrate_seconds
        self._calibrating: dict[KnowledgeBase, asyncio.Lock] = {}

    async def GetRiskCoverage(self, request: pb.GetRiskCoverageRequest, context: Context) -> pb.GetRiskCoverageResponse:
        """What is in force here, out of memory."""
        base = self._known(require(Role.VIEWER).tenant, request.knowledge_base)
        language = checked_language(request.language)
        calibration = self._calibrations.of(base, language)
        target_risk = _risk(request.target_risk) if request.target_risk else calibration.target_risk
        return pb.GetRiskCoverageResponse(
            calibration=_calibration_message(base, language, calibration),
            curve=[
                pb.RiskCoveragePoint(threshold=each.threshold, coverage=each.coverage, risk=each.risk)
                for each in calibration.curve
            ],
            threshold=calibration.threshold_for(target_risk),
            target_risk=target_risk,
        )

    async def SetTargetRisk(self, request: pb.SetTargetRiskRequest, context: Context) -> pb.SetTargetRiskResponse:
        """Chooses the risk; here it counts when this returns."""
        operator = require(Role.OPERATOR)
        base = self._known(operator.tenant, request.knowledge_base)
        languages: Sequence[Language] = [checked_language(request.language)] if request.language else LANGUAGES
        await self._quality.aim(base, languages, _risk(request.target_risk), operator.principal)
        return pb.SetTargetRiskResponse()

    async def Calibrate(self, request: pb.CalibrateRequest, context: Context) -> pb.CalibrateResponse:
        """Fits the calibrations anew, one base at a time."""
        base = self._known(require(Role.OPERATOR).tenant, request.knowledge_base)
        try:
            async with asyncio.timeout(self._calibrate_seconds), self._calibrating.setdefault(base, asyncio.Lock()):
                fitted = await self._quality.calibrate(base)
        except TimeoutError:
            raise DeadlineExceeded(f"calibrating {base.name!r} within {self._calibrate_seconds:g} s") from None
        return pb.CalibrateResponse(
            calibrations=[_calibration_message(base, language, each) for language, each in fitted.items()]
        )

    def _known(self, tenant: str, name: str) -> KnowledgeBase:
        base = checked_base(tenant, name)
        if self._bases.of(base) is None:
            raise NotFound("knowledge base", name)
        return base


def _risk(value: float) -> float:
    # A float32 of the contract: 0.001 is a little more or less.
    risk = float(f"{value:.7g}")
    if not LEAST_RISK <= risk <= MOST_RISK:
        raise InvalidField("target_risk", f"{LEAST_RISK} to {MOST_RISK}", risk)
    return risk


def _calibration_message(base: KnowledgeBase, language: Language, calibration: Calibration) -> pb.Calibration:
    message = pb.Calibration(
        version=calibration.version,
        knowledge_base=base.name,
        language=language,
        in_scope_questions=calibration.in_scope,
        out_of_scope_questions=calibration.out_of_scope,
        from_feedback=calibration.from_feedback,
        expected_calibration_error=calibration.ece,
        target_risk=calibration.target_risk,
    )
    if calibration.fitted_at is not None:
        message.fitted_at.FromDatetime(calibration.fitted_at)
    return message
