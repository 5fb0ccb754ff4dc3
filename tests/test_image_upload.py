"""Uploads over real HTTP to a registry that breaks off, forgets, refuses and fills up; and to Docker's own."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from promoter.errors import AuthError, PromoterError, RefusedError, UnreachableError
from promoter.image.body import CHUNK_SIZE
from promoter.image.connection import Connection
from promoter.image.oci import Descriptor, Restartable, read_bytes, sha256
from promoter.image.reference import ImageReference
from promoter.image.registry import RegistryRepository
from promoter.image.upload import upload
from promoter.models import Origin
from promoter.transport.session import Limits
from tests.support import fake_registry as fake
from tests.support.cutting_proxy import cutting_proxy
from tests.support.registry_server import RegistryServer, registry_server
from tests.test_image_registry import login

__all__ = ["registry_server"]

SMALL = b"layer" * 1000
# One chunk and a half, no half like another.
LARGE = b"".join(bytes([number]) * (CHUNK_SIZE // 2) for number in range(3))
QUICK = Limits(total=0.5, backoff=0.01, longest_backoff=0.02)
ENV = {"DOCKER_CONFIG": "/nowhere"}


class Source:
    """A blob's bytes in pieces that do not fit the chunks; `reads` counts how often it was read from the beginning."""

    def __init__(self, data: bytes) -> None:
        self.data, self.reads = data, 0

    def chunks(self) -> Iterator[bytes]:
        self.reads += 1
        for start in range(0, len(self.data), 1_000_003):
            yield self.data[start : start + 1_000_003]
            yield b""


@pytest.fixture
def server() -> Iterator[fake.FakeRegistry]:
    with fake.fake_registry(fake.FakeRegistry()) as running:
        yield running


def connection(host: str, env: dict[str, str] | None = None) -> Connection:
    return Connection(ImageReference.parse(f"{host}/{fake.REPOSITORY}"), (), env or ENV, QUICK)


def send(server: fake.FakeRegistry, data: bytes, size: int | None = -1) -> Source:
    """Uploads and checks what arrived; gives the source that was read."""
    source = Source(data)
    digest = upload(connection(server.host), Restartable(source.chunks), len(data) if size == -1 else size)
    assert digest == sha256(data)
    assert server.blobs == {digest: data}
    return source


@pytest.mark.parametrize("size", [len(LARGE), None], ids=["known size", "unknown size"])
def test_a_blob_goes_in_chunks_and_is_read_once(server: fake.FakeRegistry, size: int | None) -> None:
    assert send(server, LARGE, size).reads == 1
    assert server.ranges == [(0, CHUNK_SIZE), (CHUNK_SIZE, len(LARGE))]


@pytest.mark.parametrize("data", [b"", b"x", LARGE[:CHUNK_SIZE]], ids=["nothing", "a byte", "a chunk"])
@pytest.mark.parametrize("known", [True, False])
def test_a_blob_of_any_size(server: fake.FakeRegistry, data: bytes, known: bool) -> None:
    send(server, data, len(data) if known else None)
    assert len(server.asked("PATCH")) == (1 if data else 0)


def test_chunks_are_as_long_as_the_registry_wants_them(server: fake.FakeRegistry) -> None:
    server.least_chunk = CHUNK_SIZE * 2
    send(server, LARGE)
    assert server.ranges == [(0, len(LARGE))]


@pytest.mark.parametrize("size", [len(LARGE), None], ids=["known size", "unknown size"])
@pytest.mark.parametrize("keeps_parts", [True, False])
def test_a_connection_cut_at_half_goes_on_and_sends_one_chunk_again_at_most(
    server: fake.FakeRegistry, size: int | None, keeps_parts: bool
) -> None:
    server.keeps_parts, server.cuts = keeps_parts, [len(LARGE) // 2]
    assert send(server, LARGE, size).reads == 1
    assert len(server.asked("POST")) == len(server.asked("GET")) == 1
    again = 0 if keeps_parts else len(LARGE) // 2
    assert server.taken == len(LARGE) + again
    assert sum(end - start for start, end in server.ranges) - len(LARGE) <= CHUNK_SIZE


def test_every_cut_costs_one_chunk_at_most(server: fake.FakeRegistry) -> None:
    half = len(LARGE) // 2
    server.cuts = [1000, half, half + 1000, len(LARGE) - 1]
    assert send(server, LARGE).reads == 1
    assert server.taken == len(LARGE)


def test_bytes_that_are_in_memory_go_at_once(server: fake.FakeRegistry) -> None:
    assert upload(connection(server.host), [SMALL, SMALL], len(SMALL) * 2) == sha256(SMALL * 2)
    assert [call.method for call in server.calls] == ["POST", "PUT"]
    server.fail("PUT /v2/", 404, code="BLOB_UPLOAD_UNKNOWN")
    server.fail("PUT /v2/", 500)
    assert upload(connection(server.host), [SMALL], len(SMALL)) == sha256(SMALL)


@pytest.mark.parametrize("status", [429, 500, 502])
def test_trouble_that_passes_is_waited_out(server: fake.FakeRegistry, status: int) -> None:
    server.fail("PATCH /v2/", status, headers={"Retry-After": "0"}, times=4)
    assert send(server, SMALL).reads == 1


@pytest.mark.parametrize(
    ("status", "headers", "tries"), [(500, {}, 7), (429, {"Retry-After": "3600"}, 1)], ids=["for ever", "for an hour"]
)
def test_trouble_that_does_not_pass_is_reported(
    server: fake.FakeRegistry, status: int, headers: dict[str, str], tries: int
) -> None:
    server.fail("PATCH /v2/", status, headers=headers, times=99)
    with pytest.raises(UnreachableError, match=f"can't upload a layer: {status}"):
        send(server, SMALL)
    assert len(server.asked("PATCH")) == tries
    assert server.blobs == {}


def test_a_token_that_runs_out_in_mid_upload_is_renewed(server: fake.FakeRegistry, tmp_path: Path) -> None:
    server.bearer = True
    challenge = f'Bearer realm="http://{server.host}/token",scope="repository:{fake.REPOSITORY}:pull,push"'
    source, asked = Source(LARGE), connection(server.host, login(tmp_path, server.host, fake.USERNAME, fake.PASSWORD))

    def chunks() -> Iterator[bytes]:
        for number, chunk in enumerate(source.chunks()):
            if number == 5:  # the first chunk is on its way, the second one will be refused
                server.fail("PATCH /v2/", 401, headers={"WWW-Authenticate": challenge})
            yield chunk

    assert upload(asked, Restartable(chunks), len(LARGE)) == sha256(LARGE)
    assert (source.reads, len(server.asked("PATCH"))) == (1, 3)
    assert len([call for call in server.calls if call.path.startswith("/token")]) == 2
    assert server.blobs == {sha256(LARGE): LARGE}


def test_an_upload_that_the_registry_forgot_starts_over(server: fake.FakeRegistry) -> None:
    server.fail("PATCH /v2/", 404, code="BLOB_UPLOAD_UNKNOWN")
    server.fail("PUT /v2/", 404, code="BLOB_UPLOAD_UNKNOWN")
    assert send(server, SMALL).reads == 3
    assert len(server.asked("POST")) == 3


@pytest.mark.parametrize("request_line", ["PATCH /v2/", "PUT /v2/"])
def test_a_registry_that_forgets_every_upload_is_given_up(server: fake.FakeRegistry, request_line: str) -> None:
    server.fail(request_line, 404, code="BLOB_UPLOAD_UNKNOWN", times=99)
    source = Source(SMALL)
    with pytest.raises(RefusedError, match="BLOB_UPLOAD_UNKNOWN"):
        upload(connection(server.host), Restartable(source.chunks), len(SMALL))
    assert source.reads == 3
    # What can be had once only is not sent a second time.
    with pytest.raises(RefusedError, match="BLOB_UPLOAD_UNKNOWN"):
        upload(connection(server.host), iter([SMALL]), len(SMALL))
    assert len(server.asked("POST")) == 4


def test_a_registry_that_can_not_list_what_it_has_gets_everything_again(server: fake.FakeRegistry) -> None:
    server.cuts = [len(LARGE) // 2]
    server.fail("GET /v2/", 404, code="BLOB_UPLOAD_UNKNOWN")
    assert send(server, LARGE).reads == 2
    server.blobs.clear()
    server.fail("PATCH /v2/", 500)
    server.fail("GET /v2/", 204)  # without a Range
    assert send(server, SMALL).reads == 2


@pytest.mark.parametrize("there", ["0-9", "0-999999999"])
def test_a_registry_that_has_less_or_more_than_it_reported_gets_everything_again(server: fake.FakeRegistry, there: str) -> None:
    server.cuts = [CHUNK_SIZE + 1000]
    server.fail("GET /v2/", 204, headers={"Range": there})
    assert send(server, LARGE).reads == 2


def test_an_upload_that_was_completed_by_the_try_before_is_complete(server: fake.FakeRegistry) -> None:
    server.blobs[sha256(SMALL)] = SMALL
    server.fail("PUT /v2/team/model/blobs/", 404, code="BLOB_UPLOAD_UNKNOWN")
    assert send(server, SMALL).reads == 1


@pytest.mark.parametrize("size", [len(LARGE), None], ids=["known size", "unknown size"])
def test_a_registry_with_a_limit_for_chunks_gets_one_request(server: fake.FakeRegistry, size: int | None) -> None:
    server.longest_chunk = 4 << 20
    send(server, LARGE, size)
    assert len(server.asked("PATCH")) == 2


@pytest.mark.parametrize(("takes", "reads"), [({"PATCH"}, 2), (set(), 4)], ids=["one PATCH", "one PUT"])
def test_a_registry_without_chunks_gets_everything_at_once(server: fake.FakeRegistry, takes: set[str], reads: int) -> None:
    server.takes = frozenset(takes)
    assert send(server, SMALL).reads == reads


def test_one_request_that_breaks_starts_over(server: fake.FakeRegistry) -> None:
    server.takes = frozenset({"PATCH"})
    server.cuts = [len(LARGE) // 2]
    assert send(server, LARGE).reads == 3


def test_other_bytes_than_were_sent_are_refused(server: fake.FakeRegistry) -> None:
    server.fail("PUT /v2/team/model/blobs/", 201, headers={"Docker-Content-Digest": sha256(b"something else")})
    with pytest.raises(RefusedError, match="was expected, the registry has"):
        send(server, SMALL)
    server.fail("PUT /v2/team/model/blobs/", 400, code="DIGEST_INVALID")
    with pytest.raises(RefusedError, match="400 DIGEST_INVALID"):
        send(server, SMALL)
    assert server.blobs == {}


@pytest.mark.parametrize(
    ("status", "code", "message", "error"),
    [
        (507, "", "507", RefusedError),
        (500, "no space left on device", "no space left", RefusedError),
        (403, "DENIED: quota exceeded", "quota", RefusedError),
        (403, "DENIED", "403 DENIED", AuthError),
    ],
)
@pytest.mark.parametrize("request_line", ["POST /v2/", "PATCH /v2/", "PUT /v2/"])
def test_a_full_registry_is_distinguished_from_one_that_forbids(
    server: fake.FakeRegistry, request_line: str, status: int, code: str, message: str, error: type[PromoterError]
) -> None:
    server.fail(request_line, status, code=code, times=99)
    with pytest.raises(error, match=message) as told:
        send(server, SMALL)
    assert ("is full" in told.value.hint) == (error is RefusedError)
    assert server.blobs == {}


@pytest.mark.parametrize("size", [len(SMALL) - 1, len(SMALL) + 1])
@pytest.mark.parametrize("takes", [{"PATCH", "chunks"}, {"PATCH"}])
def test_a_source_of_another_size_is_refused(server: fake.FakeRegistry, size: int, takes: set[str]) -> None:
    server.takes = frozenset(takes)
    with pytest.raises(RefusedError, match=f"for a blob of {size}"):
        send(server, SMALL, size)
    assert server.blobs == {}


@pytest.mark.parametrize("takes", [{"PATCH", "chunks"}, {"PATCH"}])
def test_a_source_that_breaks_is_not_taken_for_the_registry(server: fake.FakeRegistry, takes: set[str]) -> None:
    def chunks() -> Iterator[bytes]:
        yield SMALL
        raise UnreachableError("the store went away")

    server.takes = frozenset(takes)
    with pytest.raises(UnreachableError, match="the store went away"):
        upload(connection(server.host), Restartable(chunks), len(SMALL) * 2)
    assert not server.asked("GET")


# -- copies -----------------------------------------------------------------------------------------------------------


def two_repositories(host: str) -> tuple[RegistryRepository, RegistryRepository]:
    mine, theirs = (ImageReference.parse(f"{host}/team/{name}") for name in ("model", "staging"))
    return RegistryRepository(mine, env=ENV, limits=QUICK), RegistryRepository(theirs, env=ENV, limits=QUICK)


def test_a_blob_of_the_same_registry_is_mounted(registry_server: RegistryServer) -> None:
    names = (f"{registry_server.host}/team/{uuid.uuid4().hex}" for _ in range(2))
    mine, theirs = (RegistryRepository(ImageReference.parse(name), env=ENV) for name in names)
    blob = Descriptor("x", theirs.write_blob([SMALL], len(SMALL)), len(SMALL))
    assert not mine.has_blob(blob.digest)
    assert mine.copy_blob(blob, theirs) is Origin.MOUNTED
    assert read_bytes(mine, blob) == SMALL
    assert mine.copy_blob(blob, theirs) is Origin.THERE


@pytest.mark.parametrize("status", [202, 400, 403, 405])
def test_a_mount_that_is_refused_becomes_a_copy(server: fake.FakeRegistry, status: int) -> None:
    mine, theirs = two_repositories(server.host)
    blob = Descriptor("x", theirs.write_blob([SMALL], len(SMALL)), len(SMALL))
    server.mounts = False
    if status != 202:
        server.fail("POST /v2/team/model/blobs/uploads/?mount", status)
    posts = len(server.asked("POST"))
    assert mine.copy_blob(blob, theirs) is Origin.SENT
    assert server.blobs == {sha256(SMALL): SMALL}
    # The upload that a 202 opens is the one that is used.
    assert len(server.asked("POST")) - posts == (1 if status == 202 else 2)


def test_the_upload_that_a_refused_mount_opened_may_be_lost(server: fake.FakeRegistry) -> None:
    mine, theirs = two_repositories(server.host)
    blob = Descriptor("x", theirs.write_blob([SMALL], len(SMALL)), len(SMALL))
    server.mounts = False
    server.fail("PATCH /v2/", 404, code="BLOB_UPLOAD_UNKNOWN")
    assert mine.copy_blob(blob, theirs) is Origin.SENT
    assert len([call for call in server.asked("POST") if "/team/model/" in call.path]) == 2


def test_a_mount_that_wants_another_login_becomes_a_copy(server: fake.FakeRegistry) -> None:
    mine, theirs = two_repositories(server.host)
    blob = Descriptor("x", theirs.write_blob([SMALL], len(SMALL)), len(SMALL))
    server.fail("POST /v2/team/model/blobs/uploads/?mount", 401, headers={"WWW-Authenticate": "Basic realm=x"})
    assert mine.copy_blob(blob, theirs) is Origin.SENT


# -- Docker's registry --------------------------------------------------------------------------------------------------


def test_a_real_registry_takes_chunks(registry_server: RegistryServer) -> None:
    name = ImageReference.parse(f"{registry_server.host}/team/{uuid.uuid4().hex}")
    source = Source(LARGE)
    for size in (len(LARGE), None):
        assert RegistryRepository(name, env=ENV).write_blob(Restartable(source.chunks), size) == sha256(LARGE)
    assert source.reads == 2
    blob, repository = Descriptor("x", sha256(LARGE), len(LARGE)), RegistryRepository(name, env=ENV)
    assert b"".join(repository.read_blob(blob)) == LARGE
    with pytest.raises(RefusedError, match="too many for a document"):
        read_bytes(repository, blob)


def test_a_real_registry_behind_a_connection_that_breaks(registry_server: RegistryServer) -> None:
    """Docker's registry drops an upload that broke inside a chunk, so that it is sent again."""
    source = Source(LARGE)
    with cutting_proxy(registry_server.host, after=[len(LARGE) // 2]) as host:
        link = Connection(ImageReference.parse(f"{host}/team/{uuid.uuid4().hex}"), (), ENV, QUICK)
        assert upload(link, Restartable(source.chunks), len(LARGE)) == sha256(LARGE)
    assert source.reads == 2
