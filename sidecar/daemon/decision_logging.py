"""Builds the log of decisions of a daemon, as its configuration asks for it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import trio

from sidecar.adapters import clock
from sidecar.adapters.decision_log.file_output import FileOutput, UnusableFile
from sidecar.adapters.decision_log.otlp_output import OtlpOutput
from sidecar.adapters.decision_log.stream_output import StreamOutput
from sidecar.adapters.telemetry.metrics import ScrapedLevel
from sidecar.adapters.telemetry.telemetry import PrometheusTelemetry
from sidecar.daemon.configuration.files import Configuration
from sidecar.daemon.configuration.generation import policy_set_of
from sidecar.daemon.configuration.in_force import InForce, Swap
from sidecar.daemon.configuration.unusable import problem_at
from sidecar.domain.values.causes import words_of
from sidecar.service.decisions.decision_log import DecisionLog, OutputFailed
from sidecar.service.decisions.record_builder import RecordBuilder
from sidecar.service.ports.calls import Unavailable
from sidecar.wire.decision_log.chain import Chain, ChainEnd, Digest, digest_by
from sidecar.wire.decision_log.masks import Masks
from sidecar.wire.decision_log.records import CHAIN, encode_notice
from sidecar.wire.decision_log.settings import DecisionLogSettings, DecisionOutput, HashChain
from sidecar.wire.yaml.tree import ConfigError

LAST_CHANCE = 2.0
"""Seconds in which the last records are written when the daemon ends."""

PeerOf = Callable[[int], str]
"""Returns the source that a uid is."""


class DecisionLogging:
    """The log of decisions with its output; `log` None: the configuration asks for none."""

    def __init__(
        self, in_force: InForce, telemetry: PrometheusTelemetry, sidecar: str, peer_of: PeerOf
    ) -> None:
        self._in_force = in_force
        self._telemetry = telemetry
        self._sidecar = sidecar
        self._peer_of = peer_of
        self._output: FileOutput | StreamOutput | OtlpOutput | None = None
        self._chain: Chain | None = None
        self.log: DecisionLog | None = None
        started = in_force.started.decision_log
        if started.output is DecisionOutput.OFF:
            return
        self._output = self._output_of(started)
        settings = in_force.settings().decision_log
        self.log = DecisionLog(
            output=self._output,
            builder=self._builder(in_force.configuration),
            share=settings.sample,
            bound=started.queue,
            telemetry=telemetry,
            clock=clock.now,
        )
        log = self.log
        telemetry.queue("decision-log", lambda: log.waiting)
        telemetry.level(ScrapedLevel.DECISION_CHAIN, lambda: self._end.seq)

    def _output_of(self, started: DecisionLogSettings) -> FileOutput | StreamOutput | OtlpOutput:
        digest = _digest_of(started)
        if started.output is DecisionOutput.FILE:
            return FileOutput(
                lambda: self._settings.file, digest, clock.now, self._telemetry.record
            )
        self._chain = None if digest is None else Chain(digest)
        if started.output is DecisionOutput.STDOUT:
            return StreamOutput(self._chain)
        resource = {"service.name": "stepup-sidecar", "service.instance.id": self._sidecar}
        with self._naming("otlp.ca_file"):
            return OtlpOutput(lambda: self._settings.otlp, self._chain, resource)

    @property
    def _settings(self) -> DecisionLogSettings:
        return self._in_force.settings().decision_log

    def _builder(self, configuration: Configuration) -> RecordBuilder:
        settings = configuration.settings
        return RecordBuilder(
            Masks(settings.decision_log, settings.privacy),
            policy_set_of(configuration),
            configuration.routes.template,
            self._peer_of,
        )

    def follow(self, swap: Swap) -> None:
        """Write what is decided from now on as another snapshot says."""
        if self.log is not None:
            settings = swap.after.settings.decision_log
            self.log.replace(self._builder(swap.after), settings.sample)

    def reopen(self) -> None:
        """Open the file anew, as SIGHUP asks."""
        if isinstance(self._output, FileOutput):
            self._output.reopen()

    async def start(self, work: trio.Nursery) -> None:
        """Open the output and write from now on. Raises `ConfigError`."""
        if self.log is None:
            return
        if isinstance(self._output, FileOutput):
            with self._naming("file.path"):
                await self._output.start()
        elif self._chain is not None and self._output is not None:
            why = "a stream is not read again"
            notice = encode_notice(clock.now(), CHAIN, {"chain": "begun", "why": why})
            with suppress(OutputFailed):
                await self._output.write([notice])
        await work.start(self.log.run)

    async def finish(self) -> None:
        """Write what is left, for two seconds at most, and close the output."""
        if self.log is not None:
            with trio.move_on_after(LAST_CHANCE):
                await self.log.flush()
        match self._output:
            case FileOutput():
                self._output.close()
            case OtlpOutput():
                await self._output.aclose()
            case _:
                pass

    @contextmanager
    def _naming(self, key: str) -> Iterator[None]:
        try:
            yield
        except (OSError, UnusableFile, Unavailable) as error:
            file = self._in_force.configuration.file
            problem = problem_at(file, f"decision_log.{key}", words_of(error))
            raise ConfigError((problem,)) from error

    @property
    def _end(self) -> ChainEnd:
        if isinstance(self._output, FileOutput):
            return self._output.end
        return ChainEnd() if self._chain is None else self._chain.end


def _digest_of(settings: DecisionLogSettings) -> Digest | None:
    if settings.chain is HashChain.OFF:
        return None
    return digest_by(settings.chain_key if settings.chain is HashChain.KEYED else "")
