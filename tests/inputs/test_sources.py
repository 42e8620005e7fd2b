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
from tests.inputs.pictures import png

DATA = png()
TEXT = base64.b64encode(DATA).decode()
CLOSED = Fetcher(FetchRules())


def read(source: str | bytes) -> bytes:
    return picture_bytes(Picture(source, "image"), CLOSED)


def code_of(source: str) -> str:
    with pytest.raises(InvalidRequest) as caught:
        read(source)
    assert len(caught.value.message) < 100  # the source is not repeated
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
        pytest.param(f"data:text/html;base64,{TEXT}", "image_format", id="html"),
        pytest.param(f"data:application/pdf;base64,{TEXT}", "image_format", id="pdf"),
        pytest.param(f"data:video/mp4;base64,{TEXT}", "image_format", id="video"),
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


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.binary(max_size=200))
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
