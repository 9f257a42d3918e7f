from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import json
import os
import shutil
import subprocess
import tarfile
import tempfile
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from longshore.host import images
from longshore.host.images import ImageError, ImageStore, kind_of

needs_programs = pytest.mark.skipif(
    shutil.which("umoci") is None or shutil.which("skopeo") is None, reason="umoci and skopeo are not installed"
)

PASSWD = "root:x:0:0::/root:/bin/sh\nworker:x:1000:1000::/home/worker:/bin/sh\n"


def archive(file: Path, files: dict[str, str], links: dict[str, str] | None = None) -> Path:
    with tarfile.open(file, "w") as made:
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text.encode())
            made.addfile(entry, io.BytesIO(text.encode()))
        for name, target in (links or {}).items():
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = tarfile.SYMTYPE, target
            made.addfile(entry)
    return file


@pytest.fixture
def store(tmp_path: Path) -> ImageStore:
    return ImageStore(tmp_path / "images", is_lasting=True)


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    return archive(tmp_path / "root.tar", {"etc/passwd": PASSWD, "bin/tool": "tool"})


def layout(folder: Path, root: Path, *, tag: str = "v1", config: dict[str, object] | None = None) -> Path:
    """An OCI layout with one image of one layer, its configuration set by umoci."""
    if not folder.exists():
        subprocess.run(["umoci", "init", "--layout", folder], check=True)
    subprocess.run(["umoci", "new", "--image", f"{folder}:{tag}"], check=True)
    subprocess.run(["umoci", "raw", "add-layer", "--image", f"{folder}:{tag}", root], check=True)
    options = [
        "--config.entrypoint=/bin/tool", "--config.cmd=a", "--config.cmd=b c", "--config.env=COLOR=green=blue",
        "--config.user=worker", "--config.workingdir=/home", "--config.stopsignal=SIGINT",
    ]  # fmt: skip
    subprocess.run(["umoci", "config", "--image", f"{folder}:{tag}", *options], check=True)
    return folder


@needs_programs
def test_a_root_file_system_becomes_an_image_and_the_same_file_the_same_image(store: ImageStore, plain: Path) -> None:
    image = store.import_file("busybox", plain)
    assert (store.rootfs(image.digest) / "bin/tool").read_text() == "tool"
    assert image.passwd == PASSWD
    assert image.size_bytes == len(PASSWD) + 4
    assert [each.name for each in store.names()] == ["docker.io/library/busybox:latest"]
    assert store.import_file("other:1", plain) == image
    for name in ("busybox", "docker.io/library/busybox:latest", f"busybox@{image.digest}", image.digest, "other:1"):
        assert store.find(name) == image
    assert store.find("busybox:2") is None


@needs_programs
@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress])
def test_a_compressed_one_is_the_same_image(
    store: ImageStore, plain: Path, tmp_path: Path, compress: Callable[[bytes], bytes]
) -> None:
    (tmp_path / "root.tar.z").write_bytes(compress(plain.read_bytes()))
    assert store.import_file("a", tmp_path / "root.tar.z").digest == store.import_file("b", plain).digest


@needs_programs
def test_layouts_and_saved_images_bring_their_configuration(store: ImageStore, plain: Path, tmp_path: Path) -> None:
    folder = layout(tmp_path / "layout", plain)
    packed = tmp_path / "layout.tar"
    with tarfile.open(packed, "w") as made:
        made.add(folder, ".")
    saved = tmp_path / "saved:tar"  # A colon in a file's name means nothing.
    inner = tmp_path / "plain-saved.tar"
    copied = ["skopeo", "--insecure-policy", "copy", "-q", f"oci:{folder}:v1", f"docker-archive:{inner}:team/tool:v1"]
    subprocess.run(copied, check=True)
    inner.rename(saved)
    assert [kind_of(each) for each in (folder, packed, saved, plain)] == [
        "oci-layout", "oci-archive", "docker-archive", "root-file-system",
    ]  # fmt: skip
    for number, each in enumerate((folder, packed, saved)):
        image = store.import_file(f"tool:{number}", each)
        assert image.entry_point == ("/bin/tool",)
        assert image.command == ("a", "b c")
        assert "COLOR=green=blue" in image.environment
        assert (image.user, image.working_directory, image.stop_signal) == ("worker", "/home", "SIGINT")
        assert (store.rootfs(image.digest) / "bin/tool").read_text() == "tool"


@needs_programs
def test_of_several_images_the_one_of_that_name_is_taken(store: ImageStore, plain: Path, tmp_path: Path) -> None:
    folder = layout(tmp_path / "layout", plain, tag="v1")
    layout(folder, archive(tmp_path / "two.tar", {"bin/tool": "second"}), tag="v2")
    assert (store.rootfs(store.import_file("tool:v2", folder).digest) / "bin/tool").read_text() == "second"
    with pytest.raises(ImageError, match=r"has 2 images and none is called .*tool:v3` or `v3`; it has `v1`, `v2`"):
        store.import_file("tool:v3", folder)


@needs_programs
def test_nothing_in_an_archive_gets_out_of_its_image(store: ImageStore, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    files = {"../../../../../../outside/up": "x", str(outside / "absolute"): "x", "door/through": "x"}
    links = {"door": str(outside), "etc/passwd": str(tmp_path / "secret"), "etc/group": "../../../../../../etc/group"}
    (tmp_path / "secret").write_text("stolen")
    bad = tmp_path / "bad.tar"
    with tarfile.open(bad, "w") as made:
        for name, target in links.items():
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = tarfile.SYMTYPE, target
            made.addfile(entry)
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text)
            made.addfile(entry, io.BytesIO(text.encode()))
    image = store.import_file("bad", bad)
    assert list(outside.iterdir()) == []
    assert (image.passwd, image.group) == ("", "")


@needs_programs
def test_links_to_the_users_of_the_image_are_followed_inside_it(store: ImageStore, tmp_path: Path) -> None:
    linked = archive(
        tmp_path / "x.tar", {"usr/lib/passwd": PASSWD}, {"etc/passwd": "/usr/../usr/lib/passwd", "etc/group": "group"}
    )
    image = store.import_file("x", linked)
    assert (image.passwd, image.group) == (PASSWD, "")


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"", "can't be read as an archive"), (b"no archive" * 100, "can't be read as an archive")],
)
def test_a_file_that_is_no_archive_leaves_nothing(
    store: ImageStore, tmp_path: Path, content: bytes, words: str
) -> None:
    (tmp_path / "bad").write_bytes(content)
    with pytest.raises(ImageError, match=words):
        store.import_file("x", tmp_path / "bad")
    with pytest.raises(ImageError, match="there is no file"):
        store.import_file("x", tmp_path / "missing")
    with pytest.raises(ImageError, match="a folder without an `oci-layout` file"):
        store.import_file("x", tmp_path)
    with pytest.raises(ImageError, match="not under a digest"):
        store.import_file("x@sha256:" + "ab" * 32, tmp_path / "bad")
    assert store.names() == []


@needs_programs
def test_a_broken_image_leaves_nothing(store: ImageStore, plain: Path, tmp_path: Path) -> None:
    folder = layout(tmp_path / "layout", plain)
    for blob in (folder / "blobs" / "sha256").iterdir():
        if blob.stat().st_size > 300:
            blob.write_bytes(b"changed" + blob.read_bytes())
    with pytest.raises(ImageError, match="the image can't be read: "):
        store.import_file("x", folder)
    cut = tmp_path / "cut.tar"
    cut.write_bytes(plain.read_bytes()[:700])
    with pytest.raises(ImageError):
        store.import_file("x", cut)
    assert store.names() == []
    assert [each.name for each in (tmp_path / "images").rglob("*") if each.name == "rootfs"] == []


@needs_programs
def test_a_new_image_takes_the_name_and_the_old_one_goes_when_nobody_holds_it(
    store: ImageStore, plain: Path, tmp_path: Path
) -> None:
    old = store.import_file("x", plain)
    held = store.hold(old.digest)
    assert held is not None
    new = store.import_file("x", archive(tmp_path / "new.tar", {"bin/tool": "new"}))
    assert store.find("x") == new
    assert store.rootfs(old.digest).is_dir()  # A container may still run from it.
    os.close(held)
    assert store.collect() == [old.digest]
    assert not store.rootfs(old.digest).exists()
    assert store.hold(old.digest) is None
    assert store.remove("x")
    assert not store.remove("x")
    assert store.names() == []
    assert not store.rootfs(new.digest).exists()


@needs_programs
def test_what_inherits_the_hold_holds_the_image(store: ImageStore, plain: Path) -> None:
    """As a container's holder does, which outlives the agent."""
    image = store.import_file("x", plain)
    held = store.hold(image.digest)
    assert held is not None
    os.set_inheritable(held, True)
    with subprocess.Popen(["sleep", "100"], close_fds=False) as child:
        os.close(held)
        try:
            store.remove("x")
            assert store.collect() == []
            assert store.rootfs(image.digest).is_dir()
        finally:
            child.kill()
    assert store.collect() == [image.digest]


@needs_programs
def test_who_dies_at_any_line_leaves_whole_images_only(
    store: ImageStore, plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Death(BaseException):
        pass

    real = images._run

    def dying(command: list[str], trouble: str) -> None:
        real(command, trouble)
        raise Death

    monkeypatch.setattr(images, "_run", dying)
    monkeypatch.setattr(images, "_remove_tree", lambda place: None)  # The dead don't tidy up.
    with pytest.raises(Death):
        store.import_file("x", plain)
    monkeypatch.undo()
    left = list((tmp_path / "images" / "work").iterdir())
    assert len(left) == 1 and (left[0] / "fresh" / "rootfs").is_dir()
    assert store.find("x") is None
    assert store.import_file("x", plain).size_bytes > 0
    assert list((tmp_path / "images" / "work").iterdir()) == []


@needs_programs
def test_many_may_import_at_once(store: ImageStore, plain: Path, tmp_path: Path) -> None:
    others = [archive(tmp_path / f"{number}.tar", {"n": str(number)}) for number in range(3)]
    failures: list[BaseException] = []

    def bring(name: str, file: Path) -> None:
        try:
            store.import_file(name, file)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=bring, args=(f"same:{number}", plain)) for number in range(3)]
    threads += [threading.Thread(target=bring, args=(f"other:{number}", file)) for number, file in enumerate(others)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(store.names()) == 6
    assert len({each.digest for each in store.names()}) == 4
    assert all(store.rootfs(each.digest).is_dir() for each in store.names())


@needs_programs
def test_an_image_that_is_named_while_names_are_read_stays(
    store: ImageStore, plain: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is thrown away is decided under the image's lock; a list of names from before it would be out of date."""
    store.import_file("x", plain)
    digest = store.names()[0].digest
    held = store.hold(digest)
    assert held is not None
    store._name_file(str(images.parse_name("x"))).unlink()  # as it is between unpacking and naming
    real = images._locked

    @contextlib.contextmanager
    def named_just_before(file: Path) -> Iterator[bool]:
        if file == store._place(digest) / "lock":
            store._name("docker.io/library/x:latest", digest)
            os.close(held)
        with real(file) as is_ours:
            yield is_ours

    monkeypatch.setattr(images, "_locked", named_just_before)
    assert store.collect() == []
    assert store.rootfs(digest).is_dir()


def test_an_unreachable_registry_is_told_with_the_way_out(store: ImageStore) -> None:
    with pytest.raises(ImageError, match=r"127.0.0.1:9/x:latest` is not on this machine .* can't be reached .*refused"):
        store.pull("127.0.0.1:9/x")
    with pytest.raises(ImageError, match="a digest alone does not say where to find it"):
        store.pull("sha256:" + "ab" * 32)


@needs_programs
def test_what_a_registry_says_is_handed_on(store: ImageStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "_reach", lambda name: None)
    with pytest.raises(ImageError, match=r"^the image can't be read: .*connection refused"):
        store.pull("127.0.0.1:9/x")


def test_a_missing_program_is_named(store: ImageStore, plain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ImageError, match="the program `umoci` is not installed"):
        store.import_file("x", plain)
    assert json.dumps(store.names()) == "[]"


@needs_programs
@pytest.mark.skipif(os.geteuid() != 0, reason="root alone can become somebody else")
def test_who_is_not_root_imports_and_removes_too() -> None:
    """Also folders that their own owner may not enter."""
    # Not pytest's folder: those above it are closed to others.
    with tempfile.TemporaryDirectory(prefix="longshore-test-") as folder:
        _import_as_nobody(Path(folder))


def _import_as_nobody(place: Path) -> None:
    place.chmod(0o777)
    closed = place / "closed.tar"
    with tarfile.open(closed, "w") as made:
        for name, mode in (("etc", 0o755), ("secret", 0o000), ("secret/below", 0o000)):
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = tarfile.DIRTYPE, mode
            made.addfile(entry)
        entry = tarfile.TarInfo("etc/passwd")
        entry.size = len(PASSWD)
        made.addfile(entry, io.BytesIO(PASSWD.encode()))
    closed.chmod(0o644)
    with warnings.catch_warnings():
        # Later Pythons warn where there are threads (a test runner's): what this child runs takes no lock of theirs.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.setgid(65534)
            os.setuid(65534)
            os.environ["HOME"] = str(place)
            store = ImageStore(place / "images")
            image = store.import_file("x", closed)
            assert image.passwd == PASSWD
            assert store.remove("x")
            assert list((place / "images" / "unpacked").iterdir()) == []
            assert list((place / "images" / "work").iterdir()) == []
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
