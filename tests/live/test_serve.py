"""`basereward serve` from start to stop: ready, scoring, draining, and starts that are refused."""

import base64
import json
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from service import demo
from tests.live.conftest import serving

PICTURE = base64.b64encode(demo.example_picture().read_bytes()).decode()
COLOUR = "What colour is the circle?"


def test_the_demo_judges_a_picture(client):
    """The right answer wins over the wrong ones, in the person's own words too."""
    item = {"prompt": COLOUR, "image": PICTURE, "responses": ["Blue.", "It is red.", "Green."]}
    answer = client.post("/score", json={"items": [item]}).json()
    (rewards,) = answer["rewards"]
    assert max(rewards) == rewards[1]
    assert answer["usage"]["image_tokens"] > 0
    yes, no = (
        client.post(
            "/score", json={"prompt": "is the circle red?", "image": PICTURE, "response": r}
        )
        for r in ("yes", "no")
    )
    assert yes.json()["reward"] > no.json()["reward"]


def test_golden_scores_are_what_the_server_answers(client):
    """Over HTTP, base64 and all: the rewards that stock transformers gave at training time."""
    folder = demo.checkpoint_folder()
    manifest = json.loads((folder / "reward_manifest.json").read_text())
    for golden in manifest["golden"]:
        item = {"prompt": golden["prompt"], "response": golden["response"]}
        if golden.get("image"):
            item["image"] = base64.b64encode((folder / golden["image"]).read_bytes()).decode()
        reward = client.post("/score", json=item).json()["reward"]
        assert reward == pytest.approx(
            golden["reward"], abs=manifest["golden_tolerance"]["float32"]
        )


def test_probes_info_and_models(client):
    assert [client.get(p).status_code for p in ("/livez", "/readyz", "/health")] == [200] * 3
    info = client.get("/info").json()
    (model,) = client.get("/v1/models").json()["data"]
    assert info["model"]["fingerprint"] == model["fingerprint"]
    assert info["checkpoint"]["head"]["widths"][-1] == 1
    home = client.get("/", follow_redirects=True)
    assert home.url.path == "/docs"
    assert client.get("/openapi.json").json()["paths"]["/score"]["post"]["requestBody"]


def test_settings_from_the_environment_and_a_file(tmp_path):
    config = tmp_path / "settings.toml"
    config.write_text('model_name = "from-file"\nmax_responses = 3\n')
    env = {
        "BASEREWARD_CONFIG": str(config),
        "BASEREWARD_API_KEY": "sesame",
        "BASEREWARD_OPS_PORT": "0",
    }
    with serving("--max-text-chars", "50", env=env) as server:
        ops = server.ready().logged("ops port")["port"]
        assert httpx.get(f"http://127.0.0.1:{ops}/readyz").text == "ready\n"
        assert "basereward_ready 1.0" in httpx.get(f"http://127.0.0.1:{ops}/metrics").text
        assert httpx.get(f"http://127.0.0.1:{ops}/score").status_code == 404
        assert httpx.get(server.url + "/info").status_code == 401
        with httpx.Client(
            base_url=server.url, headers={"Authorization": "Bearer sesame"}
        ) as client:
            settings = client.get("/info").json()["settings"]
            assert client.get("/metrics").status_code == 404  # on the ops port only
        assert settings["model_name"] == "from-file"
        assert (settings["max_responses"], settings["max_text_chars"]) == (3, 50)
        assert "sesame" not in json.dumps(settings) + "".join(server.lines)


def test_sigterm_finishes_accepted_work_and_exits_zero():
    responses = [f"Number {i}." for i in range(600)]
    body = {"items": [{"prompt": COLOUR, "image": PICTURE, "responses": responses}]}
    with (
        serving("--drain-s", "60", "--max-batch-tokens", "512") as server,
        ThreadPoolExecutor() as pool,
    ):
        url = server.ready().url
        answer = pool.submit(httpx.post, url + "/score", json=body, timeout=120)
        while not re.search(
            r"^basereward_queue_depth [1-9]", httpx.get(url + "/metrics").text, re.M
        ):
            assert not answer.done(), "scored before it could be interrupted"
        assert server.stop() == 0
        assert answer.result().status_code == 200
        assert len(answer.result().json()["rewards"][0]) == 600
        assert server.logged("draining")


def refused(*flags: str, env: dict[str, str] | None = None) -> str:
    """The one line of a start that is refused."""
    with serving(*flags, env=env) as server:
        assert server.wait() == 1
        said = [line for line in server.lines if not line.startswith("{")]
        assert len(said) == 1, "".join(server.lines)
        assert said[0].startswith("basereward: error: ")
        return said[0]


@pytest.fixture
def broken(tmp_path):
    return shutil.copytree(demo.checkpoint_folder(), tmp_path / "broken")


def test_a_wrong_folder_stops_the_start(tmp_path):
    assert "config.json is missing" in refused("--checkpoint", str(tmp_path))
    assert "no checkpoint folder" in refused("--checkpoint", str(tmp_path / "nowhere"))


def test_a_fault_found_while_loading_stops_the_start(broken):
    config = json.loads((broken / "config.json").read_text())
    config["vision_config"]["hidden_size"] *= 2
    (broken / "config.json").write_text(json.dumps(config))
    assert "config.json asks for" in refused("--checkpoint", str(broken))


def test_unknown_and_malformed_settings_stop_the_start():
    assert "unknown setting 'prot'" in refused(env={"BASEREWARD_PROT": "1"})
    ops_port = refused(env={"BASEREWARD_OPS_PORT": "tcp://10.0.0.1:80"})
    assert "setting 'ops_port' (as a variable: BASEREWARD_OPS_PORT)" in ops_port
    assert "setting 'max_responses'" in refused("--max-responses", "0")


def test_a_taken_port_stops_the_start(server):
    port = server.url.rpartition(":")[2]
    assert f"cannot listen on 127.0.0.1:{port}: address already in use" in refused("--port", port)


def test_golden_scores_that_are_not_reproduced_keep_it_unready(broken):
    path = broken / "reward_manifest.json"
    manifest = json.loads(path.read_text())
    manifest["golden"][0]["reward"] += 1.0
    path.write_text(json.dumps(manifest))
    with serving("--checkpoint", str(broken)) as server:
        url = server.url
        assert server.logged("golden scores are not reproduced")
        ready = httpx.get(url + "/readyz")
        assert (ready.status_code, "golden[0]" in ready.text) == (503, True)
        answer = httpx.post(url + "/score", json={"prompt": "p", "response": "r"})
        assert answer.status_code == 503
        assert answer.json()["error"]["code"] == "not_ready"
        assert httpx.get(url + "/livez").status_code == 200


def test_an_unknown_flag_is_a_usage_error():
    command = [sys.executable, "-m", "service", "serve", "--prot", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "unrecognized arguments: --prot" in done.stderr
