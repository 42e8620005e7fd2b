"""Folders are judged whole: what is broken refuses to start in one line that says what it is and what mends it."""

import os
import shutil

import pytest
import torch
from safetensors.torch import save_file

from service import demo
from service.errors import StartError
from service.model import manifest as manifests
from service.model.checkpoint import open_checkpoint
from service.model.location import locate
from tests.model.broken import (
    INDEX,
    WEIGHTS,
    header,
    index,
    nested,
    raw_header,
    read,
    renamed,
    stating,
    swapped,
    tensors,
    then,
    tokenizer,
    two_files,
    write,
)
from tests.model.scoring import alone, example, load

CONFIG, TOKENIZER, PICTURES = "config.json", "tokenizer_config.json", "preprocessor_config.json"


def remove(*names):
    return lambda folder: [(folder / name).unlink() for name in names]


def put(name, text):
    return lambda folder: write(folder, name, text)


def link(name, target):
    return then(lambda f: (f / name).unlink(), lambda f: (f / name).symlink_to(target))


def fifo(name):
    return lambda folder: ((folder / name).unlink(missing_ok=True), os.mkfifo(folder / name))


def add(name, value, file=WEIGHTS):
    def change(folder):
        known = tensors(folder) if file == WEIGHTS else {}
        save_file(known | {name: value}, folder / file)

    return change


def moved_head(file, name=lambda n: n):
    def change(folder):
        stored = tensors(folder)
        head = {name(n): t for n, t in stored.items() if n.startswith("score.")}
        save_file({n: t for n, t in stored.items() if not n.startswith("score.")}, folder / WEIGHTS)
        if file.endswith(".safetensors"):
            save_file(head, folder / file)
        else:
            torch.save(head, folder / file)

    return change


def golden_image(name):
    def change(folder):
        values = read(folder, manifests.FILE_NAME)
        values["golden"] = [{"prompt": "p", "response": "r", "reward": 1.0, "image": name}]
        write(folder, manifests.FILE_NAME, values)

    return change


DEEP = '{"a":' + "[" * 100_000 + "]" * 100_000 + "}"
LFS = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"

BROKEN = {
    # The tokenizer (27-30)
    "no vocabulary": (remove("tokenizer.json"), "no vocabulary: tokenizer.json is missing"),
    "no merges beside vocab.json": (
        then(two_files, remove("merges.txt")),
        "no vocabulary: tokenizer.json (or merges.txt) is missing",
    ),
    "empty merges.txt": (then(two_files, put("merges.txt", "")), "merges.txt is empty"),
    "merges.txt cut": (
        then(two_files, lambda f: write(f, "merges.txt", (f / "merges.txt").read_text()[:2000])),
        "merges.txt is cut short: no merge makes",
    ),
    "empty vocabulary": (
        tokenizer(lambda t: t["model"].update(vocab={}, merges=[])),
        "tokenizer.json has no vocabulary: model.vocab is empty",
    ),
    "no merges": (tokenizer(lambda t: t["model"].update(merges=[])), "model.merges is empty"),
    "half of the merges": (
        tokenizer(lambda t: t["model"].update(merges=t["model"]["merges"][:300])),
        "tokenizer.json is cut short: no merge makes",
    ),
    "the last merge lost": (
        tokenizer(lambda t: t["model"]["merges"].pop()),
        "no merge makes",
    ),
    "vocabulary cut": (
        tokenizer(lambda t: t["model"].update(vocab=dict(list(t["model"]["vocab"].items())[:700]))),
        "tokenizer.json is cut short: a merge makes",
    ),
    "vocabulary and merges cut": (
        tokenizer(
            lambda t: t["model"].update(
                vocab=dict(list(t["model"]["vocab"].items())[:256]), merges=[["a", "b"]]
            )
        ),
        "tokenizer.json is cut short",
    ),
    "another kind of tokenizer": (
        tokenizer(lambda t: t["model"].update(type="Unigram")),
        "a model of type 'Unigram' is not served",
    ),
    "two tokens with one id": (
        tokenizer(lambda t: t["added_tokens"][1].update(id=900)),
        "are both token 900",
    ),
    "ids of added tokens nowhere stated": (
        then(two_files, remove("added_tokens.json")),
        "nothing states the ids of the added tokens",
    ),
    "added_tokens.json of another model": (
        put("added_tokens.json", {"<|im_end|>": 902}),
        "added_tokens.json: <|im_end|> is token 902; tokenizer.json says 900",
    ),
    "added_tokens_decoder of another model": (
        stating(
            TOKENIZER, added_tokens_decoder={"902": {"content": "<|im_end|>", "special": True}}
        ),
        "tokenizer_config.json: <|im_end|> is token 902; tokenizer.json says 900",
    ),
    "picture token of another id": (
        swapped("<|im_start|>", "<|image_pad|>"),
        "config.json: image_token_id is 906; in the tokenizer <|image_pad|> is 902",
    ),
    "vision tokens of other ids": (
        swapped("<|vision_start|>", "<|vision_end|>"),
        "config.json: vision_start_token_id is 903",
    ),
    "end of turn of another id": (
        swapped("<|im_start|>", "<|im_end|>"),
        "config.json: eos_token_id is 900, in the tokenizer <|im_start|>",
    ),
    "config's ids of another model": (
        stating(CONFIG, image_token_id=151655),
        "image_token_id is 151655",
    ),
    "more tokens than rows": (
        tokenizer(
            lambda t: t["added_tokens"].append(
                t["added_tokens"][0] | {"id": 908, "content": "<loc>"}
            )
        ),
        "the tokenizer's largest id is 908 (<loc>); the embedding has 908 rows",
    ),
    "control tokens taken apart": (
        stating(TOKENIZER, split_special_tokens=True),
        "split_special_tokens = True is not served",
    ),
    "a control token that eats spaces": (
        tokenizer(lambda t: t["added_tokens"][0].update(lstrip=True)),
        "lstrip of <|im_end|> is not served",
    ),
    # The processor (34, 35, 49)
    "bilinear": (stating(PICTURES, resample=2), "resample = 2 is not served; 3 (bicubic) is"),
    "no resampling named": (stating(PICTURES, resample=None), "resample = None is not served"),
    "no normalising named": (stating(PICTURES, do_normalize=None), "do_normalize = null"),
    "lanczos in the new file": (
        put("processor_config.json", {"image_processor": {"resample": 1}}),
        "processor_config.json: resample = 1",
    ),
    "not resized in the new file": (
        put("processor_config.json", {"image_processor": {"do_resize": False}}),
        "processor_config.json: do_resize = false",
    ),
    "another patch in the new file": (
        put("processor_config.json", {"image_processor": {"patch_size": 16}}),
        "processor_config.json: patch_size is 16, config.json builds 14",
    ),
    "code in the new file": (
        put("processor_config.json", {"image_processor": {"auto_map": {"A": "x.Y"}}}),
        "processor_config.json asks for remote code",
    ),
    "code in a part of the config": (
        nested(CONFIG, "text_config", auto_map={"A": "x.Y"}),
        "config.json asks for remote code",
    ),
    "a crop": (stating(PICTURES, do_center_crop=True), "do_center_crop = true is not served"),
    "a size in sides": (stating(PICTURES, size={"height": 224, "width": 224}), "size = {"),
    "another family's processor": (
        stating(PICTURES, image_processor_type="CLIPImageProcessor"),
        "image_processor_type 'CLIPImageProcessor' is not served",
    ),
    "two means": (stating(PICTURES, image_mean=[0.5, 0.5]), "image_mean = [0.5, 0.5]"),
    "no deviation": (stating(PICTURES, image_std=[0.5, 0, 0.5]), "image_std"),
    "a factor of 0": (stating(PICTURES, rescale_factor=0), "rescale_factor = 0.0"),
    "a cap in words": (stating(PICTURES, max_pixels="many"), "max_pixels = 'many'"),
    # Adapters, other folders, heads elsewhere (36, 37, 48, 54)
    "an adapter": (
        then(
            remove(CONFIG, WEIGHTS), put("adapter_config.json", {"base_model_name_or_path": "Q/7B"})
        ),
        "an adapter of the base model 'Q/7B', not a whole checkpoint; merge it (swift export",
    ),
    "an adapter beside a config": (
        put("adapter_config.json", {"base_model_name_or_path": "Q/7B"}),
        "an adapter of the base model 'Q/7B'",
    ),
    "an adapter's weights alone": (
        add("x", torch.zeros(1), "adapter_model.safetensors"),
        "adapter_model.safetensors: the folder holds an adapter",
    ),
    "head in another file": (
        moved_head("score.safetensors"),
        "score.safetensors holds score.0.bias and is not read: rename it to value_head.safetensors",
    ),
    "head in another file under no name": (
        moved_head("head.safetensors", lambda n: n.removeprefix("score.")),
        "head.safetensors is not read: store its tensors as score.* in value_head.safetensors",
    ),
    "two heads": (
        add("score.weight", torch.zeros(1, 128), "score.safetensors"),
        "two heads: one beside the backbone, and score.safetensors, which is not read",
    ),
    "head in a pickle": (
        moved_head("value_head.bin"),
        "value_head.bin is a pickle and is never loaded; convert it to value_head.safetensors",
    ),
    "DeepSpeed's state": (
        then(remove(WEIGHTS), lambda f: (f / "global_step5").mkdir()),
        "global_step5 is DeepSpeed's own state",
    ),
    "weights under another name": (
        lambda f: (f / WEIGHTS).rename(f / "pytorch_model.safetensors"),
        "if pytorch_model.safetensors is the whole model, rename it",
    ),
    "a git-lfs pointer": (put(WEIGHTS, LFS), "model.safetensors is a git-lfs pointer"),
    "a tokenizer's pointer": (put("tokenizer.json", LFS), "tokenizer.json is a git-lfs pointer"),
    # Weights (43, 44, 46)
    "two sets of weights": (
        index(),
        "two sets of weights: model.safetensors and model-00001-of-00002.safetensors",
    ),
    "two sets, one without index": (then(index(), remove(INDEX)), "two sets of weights"),
    "shards that the index does not name": (
        then(
            index(),
            remove(WEIGHTS),
            lambda f: shutil.copy(
                f / "model-00001-of-00002.safetensors", f / "model-00003-of-00003.safetensors"
            ),
        ),
        f"two sets of weights: {INDEX} does not name model-00003-of-00003.safetensors",
    ),
    "a stale index": (
        index("model-00001-of-00005.safetensors"),
        f"{INDEX} is stale: shard model-00001-of-00005.safetensors is missing, and model.safetensors",
    ),
    "a tensor of the index lost": (
        index(WEIGHTS, "model.layers.9.mlp.up_proj.weight"),
        "tensor model.layers.9.mlp.up_proj.weight is missing from its shard",
    ),
    "AWQ": (
        stating(CONFIG, quantization_config={"quant_method": "awq"}),
        "quantization_config says 'awq': quantised weights are not served",
    ),
    "AWQ of which the config is silent": (
        add("model.layers.0.mlp.down_proj.qweight", torch.zeros(8, 8, dtype=torch.int32)),
        "down_proj.qweight is of quantised weights",
    ),
    # The config (gpu 14, 41)
    "dynamic rope": (
        nested(CONFIG, "text_config", rope_parameters={"rope_type": "dynamic", "factor": 2.0}),
        "rope_parameters.rope_type 'dynamic' is not served",
    ),
    "longrope by the old key": (
        stating(CONFIG, rope_scaling={"type": "longrope"}),
        "rope_scaling.type 'longrope' is not served",
    ),
    "a padding token without a row": (
        nested(CONFIG, "text_config", pad_token_id=5000),
        "pad_token_id is 5000; the embedding has 908 rows",
    ),
    "layers without an end": (
        nested(CONFIG, "text_config", num_hidden_layers=10**9),
        "num_hidden_layers is 1000000000; the weights hold 3 layers",
    ),
    "a size beyond all": (
        nested(CONFIG, "text_config", hidden_size=2**40),
        "config.json: hidden_size = 1099511627776 is out of range",
    ),
    "heads that do not divide": (
        nested(CONFIG, "vision_config", num_heads=7),
        "config.json: hidden_size 64 is not divisible by num_heads 7",
    ),
    "rope sections that do not add up": (
        nested(CONFIG, "text_config", rope_parameters={"mrope_section": [1, 1, 1]}),
        "rope_parameters.mrope_section = [1, 1, 1] does not add up to half a head's width, 16",
    ),
    "heads of another width": (
        nested(CONFIG, "text_config", head_dim=16),
        "config.json: head_dim 16 is not served; heads are 32 wide",
    ),
    "no rotation": (
        nested(CONFIG, "text_config", rope_parameters={"rope_theta": 0}),
        "config.json: rope_theta = 0 is out of range",
    ),
    "a value that is no number": (
        nested(CONFIG, "text_config", rms_norm_eps=float("nan")),
        "config.json: rms_norm_eps = nan is out of range",
    ),
    "limits the wrong way round": (
        nested(manifests.FILE_NAME, "pixels", min=50_000, max=40_000),
        "reward_manifest.json: pixels: Value error, min 50000 is above max 40000",
    ),
    "a type that is a list": (stating(CONFIG, model_type=["qwen2_5_vl"]), "model_type ['qwen2"),
    # Outside the folder, not regular, too large, too deep (security 23)
    "a golden picture outside": (
        golden_image("../../etc/hostname"),
        "golden picture ../../etc/hos",
    ),
    "a golden device": (golden_image("/dev/zero"), "/dev/zero leads outside the checkpoint folder"),
    "a golden FIFO": (then(fifo("g"), golden_image("g")), "g is not a regular file"),
    "a golden folder": (golden_image("golden"), "golden is not a regular file"),
    "an index that leads outside": (index("../outside.safetensors"), "stale"),
    "an index of a NUL": (index("a\0b.safetensors"), "cannot be the name of a checkpoint's file"),
    "an index of a long name": (
        index("a" * 5000 + ".safetensors"),
        "cannot be the name of a checkpoint's file",
    ),
    "a config that is a FIFO": (fifo(CONFIG), "config.json is not a regular file"),
    "weights that are a device": (
        link(WEIGHTS, "/dev/zero"),
        "leads outside the checkpoint folder",
    ),
    "a large config": (put(CONFIG, "{" + " " * 2**20 + "}"), "at most 1048576 are read"),
    "a deep config": (put(CONFIG, DEEP), "config.json cannot be read as JSON: it is nested too"),
    "a deep manifest": (put(manifests.FILE_NAME, "[" * 100_000), "reward_manifest.json cannot be"),
    "a deep tokenizer": (put("tokenizer.json", DEEP), "tokenizer.json cannot be read as JSON"),
    "a deep header": (raw_header(DEEP.encode()), "model.safetensors is not a safetensors file"),
    "a header of a huge number": (
        raw_header(b'{"a":{"dtype":"F32","shape":[' + b"9" * 5000 + b'],"data_offsets":[0,4]}}'),
        "model.safetensors is not a safetensors file",
    ),
    "a header that lies of a shape": (header(shape=[1, 1]), "or its header is damaged"),
    "a header of a type that is a list": (header(dtype=["F32"]), "or its header is damaged"),
    "tensors that overlap": (header(data_offsets=[4, 8], shape=[1]), "or its header is damaged"),
    "tokens beyond all": (
        stating(manifests.FILE_NAME, max_tokens=10**18),
        "reward_manifest.json: max_tokens",
    ),
    "a key stated twice": (
        lambda f: write(
            f,
            manifests.FILE_NAME,
            (f / manifests.FILE_NAME).read_text().replace("{", '{"pool": "last",', 1),
        ),
        "reward_manifest.json states 'pool' twice",
    ),
    "a scale that is no number": (
        nested(manifests.FILE_NAME, "score", scale=float("nan")),
        "reward_manifest.json: score.scale",
    ),
    # The template (47)
    "no template": (remove("chat_template.jinja"), "has no chat template"),
}


@pytest.fixture
def folder(tmp_path):
    """The demo without its golden scores: most checkpoints have none."""
    copy = shutil.copytree(demo.checkpoint_folder(), tmp_path / "checkpoint")
    stating(manifests.FILE_NAME, golden=[])(copy)
    return copy


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_folder_is_refused_in_one_line(folder, name):
    change, line = BROKEN[name]
    change(folder)
    with pytest.raises(StartError) as caught:
        open_checkpoint(folder)
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1000


LATE = {
    "a type of config value": (
        nested(CONFIG, "text_config", layer_types=["full_attention", "x", "y"]),
        r"^config\.json: .*layer_types",  # the useful sentence is not the first line
    ),
    "two values of one key": (
        stating(CONFIG, rms_norm_eps=0.5),
        r"^config\.json: rms_norm_eps = 0\.5 contradicts text_config, which gives 1e-05",
    ),
    "a template of no end": (
        put(
            "chat_template.jinja",
            "{% for i in range(90000) %}{% for j in range(90000) %}{% endfor %}{% endfor %}",
        ),
        r"^the chat template does not end: it was stopped after 5 s$",
    ),
    "a template of much memory": (
        put("chat_template.jinja", "{{ 'a' * 6000000000 }}"),
        r"^the chat template takes more than 536870912 bytes of memory$",
    ),
    "a template of much text": (
        put("chat_template.jinja", "{% for i in range(90000) %}{{ 'a' * 100 }}{% endfor %}"),
        r"^the chat template writes more than 1048576 characters",
    ),
    "a template without the response": (
        put(
            "chat_template.jinja",
            "{% for m in messages if m.role == 'user' %}{{ m.content }}{% endfor %}",
        ),
        r"^the chat template does not show the text of the assistant turn$",
    ),
    "a template of another family": (
        put("chat_template.jinja", "{% for m in messages %}{{ m.content }}<|eot_id|>{% endfor %}"),
        r"^the chat template writes <\|eot_id\|>, which is no token of the tokenizer$",
    ),
    "another pre-tokenizer": (
        tokenizer(lambda t: t.update(pre_tokenizer={"type": "Whitespace"})),
        r"^tokenizer\.json: pre_tokenizer is not served",
    ),
    "another normaliser": (
        tokenizer(lambda t: t.update(normalizer={"type": "Lowercase"})),
        r"^tokenizer\.json: normalizer is not served",
    ),
    "merges left out at random": (
        tokenizer(lambda t: t["model"].update(dropout=0.5)),
        r"^tokenizer\.json: model\.dropout is not served",
    ),
    "a padding token beyond the rows": (
        stating(TOKENIZER, pad_token="[PAD]"),
        r"^the tokenizer's largest id is 908; the embedding has 908 rows$",
    ),
    "a template with a fault": (put("chat_template.jinja", "{% for %}"), r"^the chat template can"),
}


@pytest.mark.parametrize("name", LATE)
def test_what_only_loading_can_tell_is_one_line_too(folder, name):
    change, line = LATE[name]
    change(folder)
    with pytest.raises(StartError, match=line) as caught:
        load(folder)
    assert "\n" not in str(caught.value)


SAME = {
    "FSDP and checkpointing": renamed(
        lambda n: "_forward_module." + n.replace(".0.", ".0._checkpoint_wrapped_module.")
    ),
    "FSDP within": renamed(lambda n: "_fsdp_wrapped_module." + n.replace("mlp.", "mlp._orig_mod.")),
    "PEFT": renamed(lambda n: "base_model.model." + n),
    "DDP over PEFT": renamed(lambda n: "module.base_model.model." + n),
    "vLLM's head": renamed(lambda n: "language_model." + n if n.startswith("score.") else n),
    "attention that is not installed": stating(
        CONFIG, attn_implementation="flash_attention_2", _attn_implementation="flash_attention_3"
    ),
    "vocab.json and merges.txt": two_files,
    "an index of a dropped lm_head": index(WEIGHTS, "lm_head.weight"),
    "an index of the one file": index(WEIGHTS),
    "null steps": stating(PICTURES, do_resize=None, do_convert_rgb=None, size=None),
    "constant_ok": stating(manifests.FILE_NAME, constant_ok=False),
    "the processor's new file": lambda f: (
        write(f, "processor_config.json", {"image_processor": read(f, PICTURES)}),
        (f / PICTURES).unlink(),
    ),
    **{
        f"tokenizer_class {name}": stating("tokenizer_config.json", tokenizer_class=name)
        for name in (
            *("Qwen2Tokenizer", "Qwen2TokenizerFast", "TokenizersBackend"),
            *("PreTrainedTokenizerFast", None),
        )
    },
    "litter beside the weights": lambda f: (
        (f / "optimizer.safetensors").write_bytes(b"x"),
        (f / "scores.safetensors").write_bytes(b"x"),
        os.mkfifo(f / "other.safetensors"),
    ),
    "a pickle beside the weights": lambda f: (f / "pytorch_model.bin").write_bytes(b"x"),
}


@pytest.fixture(scope="module")
def known(noise):
    return scored(demo.checkpoint_folder(), noise)


def scored(folder, noise):
    model = load(folder)
    group = example(model, "What is it?", ["It is red.", "\nNo."], [noise(112, 84)])
    return alone(model, group), model.info.fingerprint


@pytest.mark.parametrize("name", SAME)
def test_spellings_of_one_model_score_alike(folder, noise, known, name):
    SAME[name](folder)
    assert scored(folder, noise) == known


def test_wrappers_that_were_taken_off_are_told(folder):
    SAME["DDP over PEFT"](folder)
    assert open_checkpoint(folder).tensors.wrappers == ("module.base_model.model.",)


def test_a_wrapper_is_not_taken_off_where_two_tensors_become_one(folder):
    stored = tensors(folder)
    name = next(iter(stored))
    save_file(stored | {"module." + name: stored[name].clone()}, folder / WEIGHTS)
    with pytest.raises(StartError, match="is stored twice"):
        open_checkpoint(folder)


def test_a_snapshot_of_the_hubs_cache_is_links_into_its_blobs(folder, tmp_path, noise, known):
    blobs = tmp_path / "hub" / "models--a--b" / "blobs"
    snapshot = blobs.parent / "snapshots" / "0123"
    blobs.mkdir(parents=True)
    snapshot.mkdir(parents=True)
    for number, path in enumerate(sorted(p for p in folder.iterdir() if p.is_file())):
        shutil.copy(path, blobs / str(number))
        (snapshot / path.name).symlink_to(f"../../blobs/{number}")
    assert scored(snapshot, noise) == known
    (snapshot / WEIGHTS).unlink()
    (snapshot / WEIGHTS).symlink_to(folder / WEIGHTS)
    with pytest.raises(StartError, match="leads outside the checkpoint folder"):
        open_checkpoint(snapshot)


def test_a_mistyped_folder_is_never_looked_for_on_the_hub(tmp_path, monkeypatch):
    (tmp_path / "runs9" / "step-400").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    for source in (
        "output/checkpoint-500",
        "./a/b",
        "runs9/step-40",
        "/nope/x",
        "some/checkpoint-7",
    ):
        with pytest.raises(StartError, match=f"^no checkpoint folder '{source}'") as caught:
            locate(source)
        assert "hub is out of reach" not in str(caught.value)
    with pytest.raises(StartError, match="'runs9' holds step-400"):
        locate("runs9/step-40")


def test_a_folder_above_a_checkpoint_names_what_is_below(folder, tmp_path):
    run = tmp_path / "run" / "v0"
    shutil.copytree(folder, run / "checkpoint-500")
    for above, below in ((run, "checkpoint-500"), (run.parent, "v0/checkpoint-500")):
        with pytest.raises(StartError, match=f"there is .*{below}.* below: give that folder"):
            open_checkpoint(above)


def test_a_template_for_texts_alone_starts_and_refuses_pictures(folder, noise):
    source = (
        "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' }}"
        "{{ m['content'] + '<|im_end|>' + '\\n' }}{% endfor %}"
    )
    write(folder, "chat_template.jinja", source)
    model = load(folder)
    model.check()
    assert example(model, "Which?", ["One."]).lengths
    with pytest.raises(Exception, match="does not take such a conversation") as caught:
        example(model, "Which?", ["One."], [noise(84, 84)])
    assert caught.value.code == "not_supported"


def test_two_templates_are_a_warning(folder):
    stating(TOKENIZER, chat_template="{{ messages }}")(folder)
    (warning,) = open_checkpoint(folder).warnings
    assert (
        warning
        == "the chat template of chat_template.jinja is used; tokenizer_config.json has another"
    )
