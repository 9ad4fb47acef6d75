"""A lint of Dockerfiles: rules as hadolint names them, and those of this project. Reads what `deploy/docker` uses."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field


@dataclass
class Stage:
    """A stage: its base as written with arguments filled in, its name, and its instructions in order."""

    base: str
    name: str
    steps: list[tuple[str, str]] = field(default_factory=list)

    def all(self, instruction: str) -> list[str]:
        """The arguments of each instruction of a kind."""
        return [arguments for step, arguments in self.steps if step == instruction]


def parse(text: str) -> list[Stage]:
    """The stages of a Dockerfile."""
    joined = re.sub(r"\\\n", " ", re.sub(r"^\s*#.*\n", "", text, flags=re.MULTILINE))
    arguments: dict[str, str] = {}
    stages: list[Stage] = []
    for line in filter(None, map(str.strip, joined.splitlines())):
        step, _, rest = line.partition(" ")
        if step == "FROM":
            base, _, name = rest.partition(" AS ")
            for key, value in arguments.items():
                base = base.replace(f"${{{key}}}", value)
            stages.append(Stage(base.strip(), name.strip()))
        elif step == "ARG" and not stages:
            key, _, value = rest.partition("=")
            arguments[key] = value
        else:
            stages[-1].steps.append((step, re.sub(r"\s+", " ", rest.strip())))
    return stages


def findings(text: str) -> list[str]:
    """The rules that a Dockerfile breaks, by name."""
    stages = parse(text)
    last, names = stages[-1], {stage.name for stage in stages}
    broken = []

    def rule(name: str, *, holds: bool) -> None:
        if not holds:
            broken.append(name)

    pinned = [stage.base in names or bool(re.search(r":\d+\.\d+\.\d+[\w.-]*(@|$)", stage.base)) for stage in stages]
    rule("DL3006 DL3007 the base has a whole version, and is not latest", holds=all(pinned))
    rule("the build has a stage of its own", holds=len(stages) > 1)
    rule("DL3020 COPY in place of ADD", holds=not any(stage.all("ADD") for stage in stages))
    rule("DL3002 the last user is not root", holds=_is_plain_user(last.all("USER")))
    kept = last.all("COPY")
    rule("COPY into the image names the owner", holds=all("--chown=" in copy for copy in kept))
    rule("the program belongs to root", holds=all("/data" in c or "--chown=0:0 " in c for c in kept))
    forms = [last.all("ENTRYPOINT"), last.all("CMD"), [h.partition("CMD ")[2] for h in last.all("HEALTHCHECK")]]
    rule(
        "DL3025 exec form of ENTRYPOINT, CMD and HEALTHCHECK", holds=all(len(f) == 1 and _is_list(f[0]) for f in forms)
    )
    ways = [path for stage in stages for path in stage.all("WORKDIR")]
    rule("DL3000 WORKDIR is absolute", holds=all(path.startswith("/") for path in ways))
    runs = [run for stage in stages for run in stage.all("RUN")]
    rule("DL3003 no cd", holds=not any(re.search(r"(^|&& )cd ", run) for run in runs))
    rule("DL3004 no sudo", holds=not any("sudo" in run for run in runs))
    rule(
        "DL3042 pip keeps no cache",
        holds=all("--no-cache-dir" in r for r in runs if re.search(r"pip .*install ", r) and "uninstall" not in r),
    )
    tools = r"\bgcc\b|\bmake\b|pip3? install|build-essential|\bgit\b|-dev\b"
    rule("no build tools in the image", holds=not any(re.search(tools, run) for run in last.all("RUN")))
    packaged = [run for run in runs if "apt-get install" in run]
    rule("DL3015 no recommended packages", holds=all("--no-install-recommends" in run for run in packaged))
    rule("DL3009 no lists of packages stay", holds=all("rm -rf /var/lib/apt/lists/*" in run for run in packaged))
    secret = r"(?i)(password|secret|token|passcode)\w*="
    rule(
        "no secret in ENV or ARG",
        holds=not any(re.search(secret, v) for s in stages for v in s.all("ENV") + s.all("ARG")),
    )
    rule("it stops by SIGTERM", holds=last.all("STOPSIGNAL") == ["SIGTERM"])
    rule("its data is a volume", holds=last.all("VOLUME") == ['["/data", "/backup"]'])
    return broken


def _is_plain_user(users: list[str]) -> bool:
    return bool(users) and re.fullmatch(r"[1-9]\d*:[1-9]\d*", users[-1]) is not None


def _is_list(text: str) -> bool:
    try:
        return isinstance(json.loads(text), list)
    except ValueError:
        return False
