"""Sources to bytes: data URIs and base64 strictly, URLs and paths only through the fetcher."""

import base64
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.core import Picture
from service.errors import InvalidRequest
from service.inputs.fetch import Fetcher, FetchRules
from service.inputs.sources import picture_bytes
from tests.inputs.pictures import encoded, pixels, png

DATA = png()
TEXT = base64.b64encode(DATA).decode()
CLOSED = Fetcher(FetchRules())


def read(source: str | bytes) -> bytes:
    return picture_bytes(Picture(source, "image"), CLOSED)


def code_of(source: str) -> str:
    with pytest.raises(InvalidRequest) as caught:
        read(source)
    assert source not in caught.value.message or len(source) < 8  # it is not repeated
    assert len(caught.value.message) < 150
    return caught.value.code


@pytest.mark.parametrize(
    "source",
    [
        pytest.param(f"data:image/png;base64,{TEXT}", id="png"),
        pytest.param(f"data:image/jpeg;base64,{TEXT}", id="another-type-than-the-bytes"),
        pytest.param(f"data:image/svg+xml;base64,{TEXT}", id="type-with-a-plus"),
        pytest.param(f"DATA:IMAGE/PNG;BASE64,{TEXT}", id="capitals"),
        pytest.param(f"data:;base64,{TEXT}", id="no-type"),
        pytest.param(f"data:image/png;name=a.png;base64,{TEXT}", id="parameter"),
        pytest.param(f"data:image;base64,{TEXT}", id="no-subtype"),
        pytest.param(f"data:image/*;base64,{TEXT}", id="any-subtype"),
        pytest.param(f"data:application/octet-stream;base64,{TEXT}", id="octets"),
        pytest.param(f"data:binary/octet-stream;base64,{TEXT}", id="binary-octets"),
        pytest.param(f"data:None;base64,{TEXT}", id="none"),
        pytest.param(f"data:base64,{TEXT}", id="base64-alone"),
        pytest.param(f"data:text/html;base64,{TEXT}", id="html"),
        pytest.param(f"data:image/png;charset=utf-8;base64,{TEXT}", id="charset"),
        pytest.param(f"data:image/png;base64;charset=utf-8,{TEXT}", id="charset-after"),
        pytest.param(f"data:{'x' * 200}/{'y' * 200};base64,{TEXT}", id="long-type"),
        pytest.param(TEXT, id="bare-base64"),
        pytest.param("\n".join(re.findall(".{1,76}", TEXT)), id="wrapped"),
        pytest.param("\r\n".join(re.findall(".{1,76}", TEXT)) + "\r\n", id="wrapped-crlf"),
        pytest.param(DATA, id="bytes"),
    ],
)
def test_source_is_read(source):
    assert read(source) == DATA


@pytest.mark.parametrize(
    ("source", "code"),
    [
        pytest.param(f"data:image/png,{TEXT}", "image_decode", id="not-said-to-be-base64"),
        pytest.param(f"data:image/png;base64;{TEXT}", "image_decode", id="no-comma"),
        pytest.param(f"data:image/png;base64 ,{TEXT}", "image_decode", id="space-before-comma"),
        pytest.param("data:", "image_decode", id="data-alone"),
        pytest.param("data:,", "image_decode", id="nothing-in-it"),
        pytest.param("data:" + ";a" * 200_000 + ";base64,AAAA", "image_decode", id="long-head"),
        pytest.param("data:image/png;base64,%69VBORw0KGgo=", "image_decode", id="percent-encoded"),
        pytest.param("not base64!", "image_decode", id="text"),
        pytest.param(TEXT.replace("+", "-").replace("/", "_"), "image_decode", id="url-safe"),
        pytest.param(TEXT[:-1], "image_decode", id="cut"),
        pytest.param("AAAA AAAA", "image_decode", id="space"),
        pytest.param("AAAA\tAAAA", "image_decode", id="tab"),
        pytest.param("AAAA\0AAA", "image_decode", id="nul"),
        pytest.param("AA=A", "image_decode", id="padding-in-the-middle"),
        pytest.param("ÄÖÜß", "image_decode", id="not-ascii"),
        pytest.param("cat.png", "image_decode", id="file-name"),
        pytest.param("/etc/passwd", "image_decode", id="path"),
        pytest.param("file:/etc/passwd", "image_decode", id="file-with-one-slash"),
        pytest.param("https://example.com/a.png", "url_not_allowed", id="https"),
        pytest.param("http://example.com/a.png", "url_not_allowed", id="http"),
        pytest.param("file:///etc/passwd", "url_not_allowed", id="file-url"),
        pytest.param("ftp://example.com/a.png", "url_not_allowed", id="ftp"),
        pytest.param("s3://bucket/a.png", "url_not_allowed", id="s3"),
        pytest.param("FILE:///etc/passwd", "url_not_allowed", id="file-in-capitals"),
    ],
)
def test_source_is_refused(source, code):
    assert code_of(source) == code


@pytest.mark.parametrize(
    "path",
    [
        *(
            "/data/a.png",
            "/data/images/cat",
            "a.png",
            "images/1.jpeg",
            "~/x",
            "./x",
            "../x",
            "~me/a",
        ),
        *("C:\\x.png", "c:/x/y", "images\\cat", "\\\\server\\a", "file:/etc/passwd", "a b.webp"),
    ],
)
def test_a_path_is_told_from_base64(path):
    with pytest.raises(InvalidRequest, match="looks like a path") as caught:
        read(path)
    assert caught.value.code == "image_decode"
    assert "send its bytes (the client takes pathlib.Path)" in caught.value.message


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("side", [1, 2, 28])
def test_no_picture_is_taken_for_a_path(kind, side):
    data = encoded(pixels(side, side), kind, **({"lossless": True} if kind == "WEBP" else {}))
    assert read(base64.b64encode(data).decode()) == data


def test_what_is_wrong_with_base64_is_said():
    for text, words in [
        ("iVBOR-w_" + TEXT, "URL-safe"),
        ("A" * 2001, "2001 characters"),
        ("images/cats", "pathlib.Path"),
    ]:
        with pytest.raises(InvalidRequest, match=words):
            read(text)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.binary(max_size=200).filter(lambda data: data[:1] < b"\xfc"))
def test_base64_of_any_bytes_comes_back(data):
    assert read(base64.b64encode(data).decode()) == data
    assert read("data:image/png;base64," + base64.b64encode(data).decode()) == data


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.sampled_from(["", "data:", "data:image/png;base64,", "https://", "file://"]), st.text())
def test_any_text_is_bytes_or_an_error_of_ours(head, tail):
    try:
        data, code = read(head + tail), None
    except InvalidRequest as error:
        data, code = None, error.code
    assert isinstance(data, bytes) or code in {"image_decode", "image_format", "url_not_allowed"}
