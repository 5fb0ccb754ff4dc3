"""Finds the runtime of a model version in its image repository by its recipe's key, or makes it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from promoter.errors import PromoterError, UnreachableError
from promoter.image.base import BaseImage
from promoter.image.reference import ImageReference
from promoter.image.registry import RegistryRepository
from promoter.image.runtime.recipe import Recipe
from promoter.machine.folders import temporary

if TYPE_CHECKING:
    from promoter.config import ImageConfig
    from promoter.image.layer import Open
    from promoter.image.runtime.engine import Engine
    from promoter.models import ModelVersion

_NEWEST = "runtime"
# Only what was asked for: no recommendations, no lists, no logs with times in them.
_PACKAGES = """\
FROM {base}
USER 0
RUN apt-get update \\
 && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends {packages} \\
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin /var/cache/ldconfig/aux-cache /var/log/apt /var/log/dpkg.log
"""


@dataclass(frozen=True)
class RuntimeBuilder:
    """Makes what models of the image repository `target` are put on; `say` reports each step."""

    target: RegistryRepository
    settings: ImageConfig
    env: Mapping[str, str]
    say: Callable[[str], None]
    tried: set[tuple[str, str]] = field(default_factory=set, compare=False)
    """Runtime and version of each model that was loaded in one."""
    unpacked: set[str] = field(default_factory=set, compare=False)
    """Runtimes that were made here, which no engine has yet."""

    def __call__(self, version: ModelVersion, open_file: Open) -> BaseImage:
        """The runtime of this version (see `promoter.image.publish.Runtime`); if it exists, no engine is needed.

        Raises:
            RefusedError: the requirements can't be met or locked, base or result do not fit, a step failed.
            AuthError, UnreachableError: as registries, package index and engine answer.
            UsageError: the settings can't be meant.
        """
        if (found := self.find(version, open_file)) is not None:
            return found
        recipe = self.recipe(version, open_file)
        if not recipe.unpacks:
            require_engine(recipe)
        tag = f"runtime-{recipe.key}"
        if self.target.read_manifest(tag) is None:
            self._make(recipe, tag)
        # By its tag: what it is made of is to be seen, and its digest is the registry's to say.
        return BaseImage(self.target, tag)

    def _make(self, recipe: Recipe, tag: str) -> None:
        if recipe.unpacks:
            from promoter.image.runtime.unpacked.make import unpack

            unpack(recipe, tag)
            self.unpacked.add(tag)
            return
        with recipe.context() as (folder, dockerfile):
            build_and_push(recipe, folder, dockerfile, recipe.source.runtime_stage, tag, _NEWEST)
        self.tried.add((tag, recipe.version.version))

    def attempt(self, runtime: BaseImage | None, version: ModelVersion, open_file: Open) -> None:
        """Loads the model in a runtime that was built for an earlier version, where the engine has that at hand.

        Without an engine nothing is fetched for it: that a new version of a model needs none is what layers are for.
        With one, it pulls a runtime that was unpacked just now.

        Raises:
            RefusedError: the model can't be loaded.
        """
        from promoter.image.runtime.engine import Engine
        from promoter.image.runtime.trial import try_model

        if runtime is None or (runtime.reference, version.version) in self.tried:
            return
        image = f"{self.target.name}:{runtime.reference}"
        try:
            engine = Engine(self.env, self.say)
        except UnreachableError:
            self.say(f"{version.reference} is not loaded before it is published: nothing here can run {runtime.reference}")
            return
        with engine:
            if runtime.reference in self.unpacked and not engine.has(image):
                with suppress(PromoterError):  # an engine that can't reach the registry is reported below
                    engine.pull(ImageReference.parse(image))
            if engine.has(image):
                try_model(engine, image, self.recipe(version, open_file))
            else:
                self.say(f"{version.reference} is not tried in {runtime.reference}: the Docker engine does not have it")

    def find(self, version: ModelVersion, open_file: Open) -> BaseImage | None:
        """The runtime of this version, if its requirements were locked and it was built; raises as `__call__`."""
        recipe = self.recipe(version, open_file)
        if not recipe.known:
            return None
        tag = f"runtime-{recipe.key}"
        return BaseImage(self.target, tag) if self.target.read_manifest(tag) is not None else None

    def recipe(self, version: ModelVersion, open_file: Open, *, whole: bool = False) -> Recipe:
        """What the version's runtime, or its whole image, is built from."""
        return Recipe(self.target, self.settings, self.env, self.say, version, open_file, whole)


def require_engine(recipe: Recipe) -> None:
    """Before requirements are resolved and wheels fetched, which takes a minute.

    Raises:
        UnreachableError: no engine answers.
    """
    from promoter.image.runtime.engine import Engine

    with Engine(recipe.env, recipe.say):
        return


def build_and_push(recipe: Recipe, folder: Path, dockerfile: Path, stage: str | None, tag: str, newest: str) -> str | None:
    """Builds the Dockerfile up to `stage` (None: its end), loads the recipe's model in it, and pushes it as `tag`.

    Returns its digest, if the engine reports it.

    The tag `newest` moves to it: that image is the cache of an engine that built none of them itself.

    Raises:
        RefusedError, AuthError, UnreachableError: as the engine and, to it, the registries answer.
    """
    from promoter.image.runtime.engine import Build, Engine
    from promoter.image.runtime.trial import try_model

    named = ImageReference.parse(recipe.target.name)
    with Engine(recipe.env, recipe.say) as engine:
        if recipe.pinned_base:
            engine.pull(recipe.pinned_base)
        cache = _cache(recipe, engine, replace(named, tag=newest))
        # Our own steps need no network; a user's may.
        network = "none" if recipe.source.folder is None else None
        arguments = {**recipe.arguments, **_base_with_packages(recipe, engine)}
        build = Build(folder, dockerfile, recipe.platform, stage, arguments, recipe.labels, cache, network)
        image = engine.build(build)
        try_model(engine, image, recipe, inside=recipe.whole and recipe.source.names("model"))
        digest = engine.push(image, replace(named, tag=tag))
        try:
            engine.push(image, replace(named, tag=newest))
        except PromoterError as error:  # a repository whose tags can't be moved has no cache, and works
            recipe.say(f"tag {newest} was not moved: {error.message}")
    return digest


def _base_with_packages(recipe: Recipe, engine: Engine) -> dict[str, str]:
    """The base with image.packages, from the sources that the base itself names; an image of the engine's own."""
    from promoter.image.runtime.engine import Build

    packages = recipe.settings.packages
    if not packages or recipe.pinned_base is None:
        return {}
    recipe.say(f"installing {', '.join(packages)} on {recipe.pinned_base}")
    with temporary("build") as folder:
        dockerfile = folder / "Dockerfile"
        dockerfile.write_text(_PACKAGES.format(base=recipe.pinned_base, packages=" ".join(packages)))
        return {"BASE_IMAGE": engine.build(Build(folder, dockerfile, recipe.platform, network=None))}


def _cache(recipe: Recipe, engine: Engine, newest: ImageReference) -> str | None:
    """None for an engine that has it: named as the cache it would hide the engine's own, which has the other stages too."""
    if engine.has(str(newest)) or recipe.target.read_manifest(str(newest.tag)) is None:
        return None
    engine.pull(newest)
    return str(newest)
