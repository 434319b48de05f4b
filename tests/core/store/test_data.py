"""Data files at a URL."""

import json
import os
import shutil
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from core import paths, store
from core.config import DataConfig
from core.data.read import read
from core.errors import UserError
from core.store import data
from tests.s3 import BUCKET


@pytest.fixture
def bucket(s3, url, monkeypatch, tmp_path, home):
    """The URL of an empty folder. The home of these tests is a plain one."""
    monkeypatch.setenv("LYCEUM_HOME", str(home))
    monkeypatch.setenv("LYCEUM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(data, "SURE_SECONDS", -1.0)
    return url


def put(s3, url, content):
    s3.client().pipe_file(url.removeprefix("s3://"), content)


def test_a_dataset_at_a_url_is_read_as_the_file_is(s3, bucket, tiny_data):
    put(s3, f"{bucket}/tiny.jsonl", tiny_data.read_bytes())
    assert read(DataConfig(data=f"{bucket}/tiny.jsonl")).rows == read(DataConfig(data=str(tiny_data))).rows


def test_a_copy_is_made_anew_only_when_the_file_has_changed(s3, bucket, monkeypatch):
    put(s3, f"{bucket}/x.jsonl", b"1")
    first = paths.data_file(f"{bucket}/x.jsonl")
    assert first.read_bytes() == b"1" and first.name == "x.jsonl"
    shutil.copy(first, first.with_name("witness"))
    assert paths.data_file(f"{bucket}/x.jsonl").with_name("witness").exists()
    put(s3, f"{bucket}/x.jsonl", b"2")
    assert paths.data_file(f"{bucket}/x.jsonl").read_bytes() == b"2"
    assert first.read_bytes() == b"1", "who reads the old one reads on"


def test_a_folder_of_documents_comes_with_all_that_is_in_it(s3, bucket):
    for name in ("a.md", "deep/b.md"):
        put(s3, f"{bucket}/docs/{name}", name.encode())
    folder = paths.data_file(f"{bucket}/docs")
    assert {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*.md")} == {"a.md": "a.md", "deep/b.md": "deep/b.md"}


def test_a_whole_bucket_is_a_folder(s3, bucket, monkeypatch):
    put(s3, f"{bucket}/deep/a.md", b"a")
    monkeypatch.setattr(
        data, "_inside", lambda name: name.endswith(f"{bucket.rpartition('/')[2]}/deep/a.md")
    )  # others' things lie there too
    folder = paths.data_file(f"s3://{BUCKET}")
    assert folder.name == BUCKET and [path.read_bytes() for path in folder.rglob("*.md")] == [b"a"]


def test_an_older_copy_goes_when_nobody_has_asked_for_it_in_a_day(s3, bucket):
    copies = []
    for content in (b"1", b"2", b"3"):
        put(s3, f"{bucket}/x.jsonl", content)
        copies.append(paths.data_file(f"{bucket}/x.jsonl"))
        if content == b"1":
            os.utime(copies[0].parent, (1, 1))
    assert [copy.exists() for copy in copies] == [False, True, True]


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *said):
        pass


def test_a_file_of_a_web_server_is_read(tmp_path, monkeypatch, tiny_data):
    monkeypatch.setenv("LYCEUM_CACHE", str(tmp_path / "cache"))
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=tiny_data.parent))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}/{tiny_data.name}"
    try:
        assert read(DataConfig(data=address)).rows == read(DataConfig(data=str(tiny_data))).rows
        with pytest.raises(UserError, match="There is no file 'http://127.0.0.1.*none.jsonl'. Check the address"):
            paths.data_file(address.replace(tiny_data.name, "none.jsonl"))
    finally:
        server.shutdown()
        server.server_close()


def test_what_is_not_there_is_told(s3, bucket, monkeypatch):
    with pytest.raises(UserError, match="There is no file 's3://.*/none.jsonl'. Check the address."):
        paths.data_file(f"{bucket}/none.jsonl")
    with pytest.raises(UserError, match="has no such bucket: s3://no-such-bucket/x.jsonl"):
        paths.data_file("s3://no-such-bucket/x.jsonl")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(UserError, match="refuses the keys for s3://"):
        paths.data_file(f"{bucket}/none.jsonl")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    with pytest.raises(UserError, match=rf"S3://{BUCKET}.* has been away since|s3://{BUCKET}.* has been away since"):
        paths.data_file(f"{bucket}/none.jsonl")


def test_a_job_waits_for_its_data(s3, bucket, monkeypatch, tiny_data):
    put(s3, f"{bucket}/tiny.jsonl", tiny_data.read_bytes())
    monkeypatch.setattr(store, "in_job", True)
    s3.kill()
    try:
        monkeypatch.setenv("LYCEUM_STORE_PATIENCE", "1")
        with pytest.raises(UserError, match="has been away since"):
            paths.data_file(f"{bucket}/tiny.jsonl")
    finally:
        s3.start()
    monkeypatch.setenv("LYCEUM_STORE_PATIENCE", "30")
    assert paths.data_file(f"{bucket}/tiny.jsonl").read_bytes() == tiny_data.read_bytes()


def test_a_local_address_is_a_path_too(tmp_path, monkeypatch):
    monkeypatch.setenv("LYCEUM_CACHE", str(tmp_path / "cache"))
    (tmp_path / "x.jsonl").write_text(json.dumps({"question": "a", "answer": "b"}))
    assert paths.data_file(f"file://{tmp_path}/x.jsonl").read_text() == (tmp_path / "x.jsonl").read_text()
