"""Runs inside the build, with nothing but the base image's Python: the locked wheels into /opt/runtime, from no index.

Lines that start with `promoter: ` are for people: the engine's failure is reported in their words.
"""

import compileall
import importlib.metadata
import json
import os
import py_compile
import re
import struct
import subprocess
import sys
import venv
from collections.abc import Iterable
from pathlib import Path

BUILD = Path("/opt/build")
RUNTIME = Path("/opt/runtime")
SERVER = Path("/opt/promoter")

# A third of the bytecode would be that of the packages' own tests.
TESTS = re.compile(r"/tests?/")

# Imports each package that has compiled code: the loader names the first shared library that neither a wheel nor the base has.
# Nodes provide GPU drivers, and what is made for GPUs is loaded where one is. Any other failure may come from a missing GPU,
# file or setting, not from the base.
GPU = (
    *("libcublas", "libcuda", "libcudnn", "libcufft", "libcupti", "libcurand", "libcusolver", "libcusparse"),
    *("libhip", "libnccl", "libnv", "librapids", "librmm", "librocm", "libtpu"),
)
PACKAGES = """
import importlib, importlib.metadata, sys
for package in importlib.metadata.distributions():
    files = [str(file) for file in package.files or ()]
    if not any(file.endswith(".so") or ".so." in file for file in files):
        continue
    for name in sorted({file.split("/")[0] for file in files if file.count("/") == 1 and file.endswith("/__init__.py")}):
        try:
            importlib.import_module(name)
        except BaseException as error:
            words = str(error)
            if "cannot open shared object file" in words and not words.startswith(GPU):
                sys.exit(f"{package.name} {package.version} needs {words.split(':')[0]}, which the base image does not have")
"""
# The Debian packages of the libraries that are missing most often.
DEBIAN = {
    "libgomp.so.1": "libgomp1",
    "libGL.so.1": "libgl1",
    "libglib-2.0.so.0": "libglib2.0-0",
    "libgthread-2.0.so.0": "libglib2.0-0",
    "libpq.so.5": "libpq5",
    "libX11.so.6": "libx11-6",
    "libXext.so.6": "libxext6",
    "libSM.so.6": "libsm6",
    "libICE.so.6": "libice6",
    "libxcb.so.1": "libxcb1",
    "libsndfile.so.1": "libsndfile1",
    "libodbc.so.2": "unixodbc",
}


def main() -> None:
    here, wanted = "{}.{}".format(*sys.version_info[:2]), os.environ["MODEL_PYTHON"]
    if here != wanted:
        sys.exit(f"promoter: the base image has Python {here}, the model needs Python {wanted}")
    venv.create(RUNTIME, symlinks=True)
    SERVER.mkdir(exist_ok=True)
    install()
    # Hashes that are never checked: a file system that nobody writes to is not asked for times at every import.
    mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
    for folder in (RUNTIME, SERVER):
        compileall.compile_dir(folder, quiet=2, workers=0, invalidation_mode=mode, rx=TESTS)
    check()
    (RUNTIME / "sbom.cdx.json").write_text(bill_of_materials(installed()))
    for folder in (RUNTIME, SERVER):
        settle(folder)


def install() -> None:
    """pip runs from its own wheel and takes itself out again."""
    wheels = BUILD / "wheels"
    pip = [str(RUNTIME / "bin/python"), str(next(wheels.glob("pip-*.whl")) / "pip")]
    options = ["--no-index", "--find-links", str(wheels), "--require-hashes", "--no-deps"]
    quiet = ["--no-cache-dir", "--no-compile", "--disable-pip-version-check", "--quiet"]
    for command in (
        ["install", *options, *quiet, "--requirement", str(BUILD / "requirements.lock")],
        ["uninstall", "--yes", "pip"],
    ):
        done = subprocess.run([*pip, *command], check=False)
        if done.returncode:
            sys.exit(done.returncode)
    lock = RUNTIME / "requirements.lock"
    lock.write_bytes((BUILD / "requirements.lock").read_bytes())


def check() -> None:
    """Reports now that the base lacks what wheels expect of a system (libstdc++, glibc), not when a pod does not start."""
    quiet = {"HOME": str(BUILD), "PYTHONDONTWRITEBYTECODE": "1", "MLFLOW_DISABLE_TELEMETRY": "true"}
    environ = {**os.environ, **quiet, "PYTHONPATH": str(SERVER)}
    server = "import promoter.serving.server" if any(SERVER.iterdir()) else ""
    for program in (f"import mlflow.pyfunc\n{server}", f"GPU = {GPU}\n{PACKAGES}"):
        command = [str(RUNTIME / "bin/python"), "-c", program]
        done = subprocess.run(
            command, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, errors="replace", check=False
        )
        if done.returncode:
            reason = " ".join(done.stderr.strip().splitlines()[-1:])
            others = [
                f"{package} needs {library}, which it does not have either"
                for library, package in missing_libraries().items()
                if library not in reason and library in DEBIAN and ".so" in reason
            ]
            reason = "; ".join(with_packages(text) for text in (reason, *others))
            sys.exit(f"promoter: what was installed does not run on the base image: {reason}")


def with_packages(text: str) -> str:
    """The text, with the Debian package of a library that it names."""
    package = next((f" (Debian: {name})" for library, name in DEBIAN.items() if library in text), "")
    return text + package


def missing_libraries() -> dict[str, str]:
    """Libraries that files of the wheels need and neither a wheel nor the base has, each with the first package that needs it.

    One of them alone proves nothing: packages have plug-ins that are loaded only where their library exists.
    """
    site = next((RUNTIME / "lib").glob("python*")) / "site-packages"
    found = {path.name for path in site.rglob("*.so*")} | base_libraries()
    missing: dict[str, str] = {}
    for package in importlib.metadata.distributions(path=[str(site)]):
        for file in package.files or ():
            if file.name.endswith(".so") or ".so." in file.name:
                for library in needed_libraries(Path(str(package.locate_file(file)))):
                    if library not in found and not library.startswith(GPU):
                        missing.setdefault(library, f"{package.metadata['Name']} {package.version}")
    return missing


def base_libraries() -> set[str]:
    """The names of all libraries where the loader of the base looks (ld.so(8))."""
    configured = [line.strip() for file in Path("/etc/ld.so.conf.d").glob("*.conf") for line in file.read_text().splitlines()]
    named = [*configured, *os.environ.get("LD_LIBRARY_PATH", "").split(":")]
    usual = [Path(name) for name in ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", sys.base_prefix + "/lib")]
    folders = [*usual, *(Path(name) for name in named if name.startswith("/"))]
    folders += [folder for above in usual for folder in above.glob("*-linux-*")]
    return {path.name for folder in folders for path in folder.glob("*.so*")}


def needed_libraries(path: Path) -> list[str]:
    """DT_NEEDED of a 64-bit little-endian ELF file (https://gabi.xinuos.com/elf/08-dynamic.html); [] for any other."""
    try:
        data = path.read_bytes()
        if data[:6] != b"\x7fELF\x02\x01":
            return []
        (table,), (size, count) = struct.unpack_from("<Q", data, 32), struct.unpack_from("<HH", data, 54)
        # type, flags, offset in the file, address, physical address, length
        segments = [struct.unpack_from("<IIQQQQ", data, table + number * size) for number in range(count)]
        entries = []
        for kind, _, offset, _, _, length in segments:
            if kind == 2:  # PT_DYNAMIC
                entries = [struct.unpack_from("<QQ", data, at) for at in range(offset, offset + length, 16)]
        strings = next((value for tag, value in entries if tag == 5), 0)  # DT_STRTAB, an address
        start = next(
            (strings - at + offset for kind, _, offset, at, _, n in segments if kind == 1 and at <= strings < at + n), 0
        )
        names = [start + value for tag, value in entries if tag == 1]  # DT_NEEDED
        return [data[at : data.index(b"\0", at)].decode() for at in names]
    except (OSError, ValueError, ArithmeticError, struct.error):
        return []


def installed() -> list[tuple[str, str]]:
    """Name and version of each package."""
    site = next((RUNTIME / "lib").glob("python*")) / "site-packages"
    return [(one.metadata["Name"], one.version) for one in importlib.metadata.distributions(path=[str(site)])]


def bill_of_materials(packages: Iterable[tuple[str, str]], system: Iterable[tuple[str, str, str]] = ()) -> str:
    """What was installed, as CycloneDX has it (https://cyclonedx.org/docs/1.5/json): scanners of images look for such a file.

    `system` are packages that are none of Python's, each with its URL (https://github.com/package-url/purl-spec). The list has
    neither a time nor a serial number: the same packages make the same layer.
    """
    named = sorted((re.sub(r"[-_.]+", "-", name).lower(), version) for name, version in packages)
    python = [(name, version, f"pkg:pypi/{name}@{version.replace('+', '%2B')}") for name, version in named]
    components = [
        {"type": "library", "name": name, "version": version, "bom-ref": purl, "purl": purl}
        for name, version, purl in (*python, *sorted(system))
    ]
    bill = {"bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1, "components": components}
    return json.dumps(bill, indent=1) + "\n"


def settle(folder: Path) -> None:
    """The same files make the same layer, whenever and by whomever they were copied here, and every user can read them."""
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            executable = path.is_dir() or path.stat().st_mode & 0o100
            path.chmod(0o755 if executable else 0o644)
        os.utime(path, (0, 0), follow_symlinks=False)


if __name__ == "__main__":
    main()
