"""Built-in networks are exact to the last parameter; files of others are read or refused in a line."""

import json
from math import prod

import pytest

from commsim.errors import InputError, UnknownNameError
from experiments import workload_pages
from experiments.workloads import RESNET50_DDP_BUCKETS, Layer, Tensor, Workload, find, registry
from experiments.workloads.ddp import bucket_bytes, buckets

# Parameters, tensors, largest tensor, tensors up to 4 KiB in float32, DDP buckets: counted with PyTorch on the meta
# device (torchvision and transformers), but for the three that are closed forms alone (no bucket count there).
COUNTED = {
    "mlp": (266_610, 6, 235_200, 4, 1),  # 784x300x100x10, by hand
    "cifar10_quick": (145_578, 10, 65_536, 6, 1),
    "alexnet": (61_100_840, 16, 37_748_736, 6, 4),
    "alexnet:variant=caffe": (60_965_224, 16, 37_748_736, None, None),
    "vgg16": (138_357_544, 32, 102_760_448, 14, 6),
    "vgg19": (143_667_240, 38, 102_760_448, 17, 6),
    "resnet18": (11_689_512, 62, 2_359_296, 41, 3),
    "resnet50": (25_557_032, 161, 2_359_296, 99, 5),
    "resnet101": (44_549_160, 314, 2_359_296, 201, 8),
    "resnet152": (60_192_808, 467, 2_359_296, 303, 10),
    "googlenet": (13_004_888, 187, 2_097_152, 123, 3),
    "inception_v3": (27_161_264, 292, 2_457_600, 195, 5),
    "inception_v3:auxiliary_heads=0": (23_834_568, 284, 2_048_000, 190, 5),
    "densenet121": (7_978_856, 364, 1_024_000, 243, 3),
    "vit_b_16": (86_567_656, 152, 2_359_296, 77, 14),
    "bert:size=base": (110_106_428, 206, 23_440_896, 115, 14),
    "bert:size=large": (336_226_108, 398, 31_254_528, 223, 38),
    "gpt2": (124_439_808, 148, 38_597_376, 74, 13),
    "gpt2:size=xl": (1_557_611_200, 580, 80_411_200, 0, 145),
    "gpt3": (174_604_259_328, 1_156, 617_558_016, 0, 386),
    "llama2:size=7b": (6_738_415_616, 291, 131_072_000, 0, 226),
    "llama2:size=13b": (13_015_864_320, 363, 163_840_000, None, None),
    "llama2:size=70b": (68_976_648_192, 723, 262_144_000, 0, 562),
    "llama3:size=8b": (8_030_261_248, 291, 525_336_576, 0, 194),
    "llama3:size=70b": (70_553_706_496, 723, 1_050_673_152, 0, 562),
    "llama3:size=405b": (405_853_388_800, 1_137, None, None, None),
}

# 10^9 multiply-adds of one image's forward pass: `_ops` of each model's weights in torchvision 0.29; Caffe's AlexNet:
# 724 M (Sze et al. 2017, table II).
MULTIPLY_ADDS = {
    "alexnet": 0.714,
    "alexnet:variant=caffe": 0.724,
    "vgg16": 15.470,
    "vgg19": 19.632,
    "resnet18": 1.814,
    "resnet50": 4.089,
    "resnet101": 7.801,
    "resnet152": 11.514,
    "googlenet:auxiliary_heads=0": 1.498,
    "inception_v3:auxiliary_heads=0": 5.713,
    "densenet121": 2.834,
    "vit_b_16": 17.564,
}

SHAPES = {
    "cifar10_quick": {"conv1.weight": (32, 3, 5, 5), "ip1.weight": (64, 1024)},
    "alexnet:variant=caffe": {"conv2.weight": (256, 48, 5, 5), "fc6.weight": (4096, 9216)},
    "vgg16": {"features.28.weight": (512, 512, 3, 3), "classifier.0.weight": (4096, 25088)},
    "resnet50": {"layer2.0.downsample.0.weight": (512, 256, 1, 1), "layer4.2.conv2.weight": (512, 512, 3, 3)},
    "googlenet": {"inception4d.branch2.1.conv.weight": (288, 144, 3, 3), "aux2.fc1.weight": (1024, 2048)},
    "inception_v3": {"Mixed_7c.branch3x3dbl_3b.conv.weight": (384, 384, 3, 1), "fc.weight": (1000, 2048)},
    "densenet121": {"features.denseblock4.denselayer16.conv1.weight": (128, 992, 1, 1)},
    "vit_b_16": {"class_token": (1, 1, 768), "encoder.pos_embedding": (1, 197, 768)},
    "bert": {"bert.embeddings.word_embeddings.weight": (30522, 1024), "cls.predictions.bias": (30522,)},
    "gpt2:size=xl": {"transformer.wte.weight": (50257, 1600), "transformer.h.47.mlp.c_fc.weight": (1600, 6400)},
    "llama2": {"model.layers.31.mlp.down_proj.weight": (4096, 11008), "lm_head.weight": (32000, 4096)},
    "llama3": {"model.layers.0.self_attn.k_proj.weight": (1024, 4096)},
}


@pytest.mark.parametrize("spec", COUNTED)
def test_counts_are_exact(spec):
    workload = find(spec)
    n_parameters, n_tensors, largest, n_small, n_buckets = COUNTED[spec]
    assert (workload.n_parameters, len(workload.gradients)) == (n_parameters, n_tensors)
    assert workload.gradient_bytes == 4 * n_parameters
    if largest is not None:
        assert workload.largest.n_elements == largest
    if n_buckets is not None:
        assert sum(tensor.n_bytes <= 4096 for tensor in workload.gradients) == n_small
        assert len(buckets(workload)) == n_buckets


def test_all_built_in_workloads_are_counted():
    assert {spec.partition(":")[0] for spec in COUNTED} == set(registry.WORKLOADS)


@pytest.mark.parametrize("spec", SHAPES)
def test_named_shapes(spec):
    workload = find(spec)
    assert {name: workload.tensor(name).shape for name in SHAPES[spec]} == SHAPES[spec]


@pytest.mark.parametrize("spec", MULTIPLY_ADDS)
def test_flops_of_images_are_the_published_ones(spec):
    assert find(spec).forward_flops / 2e9 == pytest.approx(MULTIPLY_ADDS[spec], abs=6e-4)


@pytest.mark.parametrize(
    ("spec", "vocabulary"), [("gpt2:size=xl", 50257), ("gpt3", 50257), ("gpt2:sequence_length=7", 50257)]
)
def test_flops_of_gpt_are_those_of_megatron(spec, vocabulary):
    """Narayanan et al. 2021 (Megatron-LM, SC21): 24 s l h² (1 + s/6h) forward, and 2 s h V for the output."""
    workload = find(spec)
    s, h = workload.tokens_per_sample, workload.tensor("transformer.ln_f.weight").shape[0]
    n_layers = sum(layer.name.endswith("c_attn") for layer in workload.layers)
    assert workload.forward_flops == 24 * s * n_layers * h**2 + 4 * s**2 * n_layers * h + 2 * s * h * vocabulary


def test_flops_of_gpt3_are_those_of_its_training():
    """Brown et al. 2020, table D.1: 3.14e23 for 300e9 tokens, six for each parameter and token (no attention)."""
    workload = find("gpt3")
    products = sum(layer.forward_flops for layer in workload.layers if not layer.name.endswith(".attn"))
    assert 3 * products / workload.tokens_per_sample * 300e9 == pytest.approx(3.14e23, rel=2e-3)


def test_tied_tables_are_sent_once_and_computed_twice():
    output = find("gpt2").layers[-1]
    assert output.tensors == ()
    assert output.forward_flops == 2 * 1024 * 768 * 50257


def test_buckets_of_resnet50_are_those_that_were_observed():
    observed = (8196000, 31502336, 26255360, 26550272, 9724160)
    assert bucket_bytes(find("resnet50")) == observed
    assert RESNET50_DDP_BUCKETS == observed  # noqa: SIM300
    first = buckets(find("resnet50"))[0]
    assert [tensor.name for tensor in first] == ["fc.bias", "fc.weight"]


def test_buffers_of_resnet50_are_those_that_ddp_broadcasts():
    """In the NCCL trace of mlcommons/chakra's test data: 212,480 and 424 bytes beside the gradients."""
    buffers = find("resnet50").buffers
    assert sum(one.n_bytes for one in buffers if one.dtype == "float32") == 212_480
    assert sum(one.n_bytes for one in buffers if one.dtype == "int64") == 424


def test_buckets_hold_every_gradient_once_and_one_type_each():
    layers = (
        Layer("a", (Tensor("a", (8,)), Tensor("b", (8,), "bfloat16"))),
        Layer("c", (Tensor("c", (8,)), Tensor("d", (4,), "bfloat16"))),
    )
    found = buckets(Workload("w", layers), cap_bytes=64, first_cap_bytes=24)
    assert [[one.name for one in bucket] for bucket in found] == [["d", "b"], ["c"], ["a"]]
    with pytest.raises(InputError, match="cap is 0 bytes"):
        buckets(Workload("w", layers), cap_bytes=0)


def test_gradients_in_another_type():
    workload = find("resnet50:dtype=bfloat16")
    assert workload.gradient_bytes_by_dtype == {"bfloat16": 2 * 25_557_032}
    assert {one.dtype for one in workload.buffers} == {"float32", "int64"}
    assert sum(bucket_bytes(workload)) == workload.gradient_bytes


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("resnet5", "unknown workload 'resnet5'; did you mean 'resnet50'?"),
        ("gpt2:size=xxl", "unknown size of gpt2: 'xxl'; did you mean 'xl'?"),
        ("gpt2:sice=xl", "unknown key of workload 'gpt2': 'sice'; did you mean 'size'?"),
        ("gpt2:sequence_length=2000", "a sequence of 2000 tokens; this network takes 1 to 1024"),
        ("resnet50:dtype=bfloat", "did you mean 'bfloat16'?"),
        ("inception_v3:auxiliary_heads=2", "has 1 auxiliary head, or 0 without; 2 was asked for"),
        ("alexnet:variant=caffee", "did you mean 'caffe'?"),
    ],
)
def test_what_cannot_be_meant_is_refused(spec, message):
    with pytest.raises(InputError) as refused:
        find(spec)
    assert message in str(refused.value)


def test_a_workload_that_cannot_be_is_not_made():
    with pytest.raises(InputError, match="two tensors 'a'"):
        Workload("w", (Layer("l", (Tensor("a", (1,)), Tensor("a", (2,)))),))
    with pytest.raises(InputError, match="no trainable tensor"):
        Workload("w", (Layer("l", (Tensor("a", (1,), trainable=False),)),))
    with pytest.raises(InputError, match="negative"):
        Tensor("a", (-1,))


# Configurations as the models' publishers wrote them, cut to the keys that say something of shapes.
GPT2_XL = {"model_type": "gpt2", "n_embd": 1600, "n_head": 25, "n_layer": 48, "n_positions": 1024, "vocab_size": 50257}
BERT_LARGE = {
    "architectures": ["BertForPreTraining"],
    "model_type": "bert",
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "max_position_embeddings": 512,
    "num_attention_heads": 16,
    "num_hidden_layers": 24,
    "type_vocab_size": 2,
    "vocab_size": 30522,
}
LLAMA3_8B = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "max_position_embeddings": 8192,
    "num_attention_heads": 32,
    "num_hidden_layers": 32,
    "num_key_value_heads": 8,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
    "vocab_size": 128256,
}


def written(folder, values):
    path = folder / "config.json"
    path.write_text(json.dumps(values))
    return path


@pytest.mark.parametrize(
    ("config", "spec"),
    [(GPT2_XL, "gpt2:size=xl"), (BERT_LARGE, "bert"), (LLAMA3_8B, "llama3:size=8b,dtype=bfloat16")],
)
def test_a_configuration_is_the_built_in_network(config, spec, tmp_path):
    read, built_in = find(str(written(tmp_path, config))), find(spec)
    assert (read.layers, read.tokens_per_sample) == (built_in.layers, built_in.tokens_per_sample)


@pytest.mark.parametrize(
    ("changes", "n_parameters"),
    [
        ({"architectures": ["BertModel"]}, 335_141_888),
        ({"architectures": ["BertForMaskedLM"]}, 336_226_108 - (1024**2 + 1024) - (2 * 1024 + 2)),
    ],
)
def test_heads_are_those_of_the_architecture(changes, n_parameters, tmp_path):
    assert find(str(written(tmp_path, BERT_LARGE | changes))).n_parameters == n_parameters


def test_a_configuration_takes_a_length_and_a_type(tmp_path):
    workload = find(f"{written(tmp_path, LLAMA3_8B)}:sequence_length=128,dtype=float32")
    assert workload.tokens_per_sample == 128
    assert workload.gradient_bytes == 4 * 8_030_261_248


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"model_type": "t5"}, "model_type 't5' is not known; known: bert, gpt2, llama"),
        ({}, "model_type 'None' is not known; known: bert, gpt2, llama"),
        ([], "its JSON is a list; an object is needed"),
        (GPT2_XL | {"n_layer": None}, "'n_layer' is None; a positive whole number is needed"),
        (GPT2_XL | {"n_layer": 1.5}, "'n_layer' is 1.5; a positive whole number is needed"),
        (GPT2_XL | {"n_layer": 10**9}, "a transformer of 1000000000 layers; give at most 10000"),
        (GPT2_XL | {"add_cross_attention": True}, "'add_cross_attention' is True; only False is known"),
        (BERT_LARGE | {"type_vocab_size": 4}, "'type_vocab_size' is 4; only 2 is known"),
        (GPT2_XL | {"n_head": 7}, "hidden size 1600 is no multiple of 7 heads"),
        (GPT2_XL | {"tie_word_embeddings": "no"}, "'tie_word_embeddings' is 'no'; true or false is needed"),
        (LLAMA3_8B | {"architectures": ["LlamaForSequence"]}, "unknown architecture in"),
        (LLAMA3_8B | {"torch_dtype": "float33"}, "did you mean 'float32'?"),
    ],
)
def test_a_configuration_that_cannot_be_is_refused_by_name(config, message, tmp_path):
    path = written(tmp_path, config)
    with pytest.raises(InputError) as refused:
        find(str(path))
    assert message in str(refused.value)
    assert str(path) in str(refused.value)


BYTES = {"F32": 4, "BF16": 2, "I64": 8}


def safetensors(path, tensors, *, cut=0):
    """A file of the format: name: (type, shape), the data zero."""
    header, end = {"__metadata__": {"format": "pt"}}, 0
    for name, (dtype, shape) in tensors.items():
        begin, end = end, end + prod(shape) * BYTES.get(dtype, 4)
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    content = len(text).to_bytes(8, "little") + text + bytes(end)
    path.write_bytes(content[: len(content) - cut])
    return path


def test_safetensors_are_read_in_the_order_of_their_numbers(tmp_path):
    tensors = {"h10.w": ("BF16", (2, 3)), "h2.w": ("F32", (5,)), "ids": ("I64", ())}
    workload = find(str(safetensors(tmp_path / "model.safetensors", tensors)))
    assert [tensor.name for tensor in workload.tensors] == ["h2.w", "h10.w", "ids"]
    assert [tensor.name for tensor in workload.buffers] == ["ids"]
    assert workload.gradient_bytes_by_dtype == {"float32": 20, "bfloat16": 12}
    assert workload.forward_flops is None


def test_an_index_reads_all_files_beside_it(tmp_path):
    weights = {}
    for number in (1, 2):
        name = f"model-0000{number}-of-00002.safetensors"
        safetensors(tmp_path / name, {f"h.{number}.w": ("BF16", (4,))})
        weights[f"h.{number}.w"] = name
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": weights}))
    assert [tensor.name for tensor in find(f"{index}:dtype=float32").tensors] == ["h.1.w", "h.2.w"]
    index.write_text(json.dumps({"weight_map": weights | {"h.3.w": weights["h.2.w"]}}))
    with pytest.raises(InputError, match=r"'h.3.w' is not in model-00002-of-00002.safetensors"):
        find(str(index))
    index.write_text(json.dumps({"weight_map": {"a": "../a.safetensors"}}))
    with pytest.raises(InputError, match="is not a file beside it"):
        find(str(index))
    index.write_text("{}")
    with pytest.raises(InputError, match="no 'weight_map'"):
        find(str(index))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\0\0\0", "cut: 3 bytes, and the length of the header takes 8"),
        ((99).to_bytes(8, "little") + b"{}", "its header is 99 bytes, and 2 follow; cut?"),
        ((2).to_bytes(8, "little") + b"{a", "not JSON"),
        ((2).to_bytes(8, "little") + b"[]", "its JSON is a list"),
        ((7).to_bytes(8, "little") + b'{"a":1}', "tensor 'a' is 1; an object with"),
    ],
)
def test_a_file_that_is_no_safetensors_is_refused(content, message, tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(InputError) as refused:
        find(str(path))
    assert message in str(refused.value)
    assert str(path) in str(refused.value)


def test_a_cut_file_and_an_unknown_type_are_told(tmp_path):
    path = safetensors(tmp_path / "model.safetensors", {"a": ("F32", (4,))}, cut=1)
    with pytest.raises(InputError, match="cut: tensor 'a' ends at byte 16 of 15 bytes of data"):
        find(str(path))
    with pytest.raises(UnknownNameError, match=r"unknown type of tensor 'a' in .*model.safetensors: 'F31'"):
        find(str(safetensors(path, {"a": ("F31", (4,))})))
    with pytest.raises(InputError, match=r"missing.safetensors: No such file"):
        find(str(tmp_path / "missing.safetensors"))


def test_the_page_has_the_table_as_it_is_now():
    page = workload_pages.PAGE.read_text()
    assert workload_pages.with_table(page) == page, "make docs"
    assert page.count("\n| ") == len(list(registry.specs())) + 2


def test_list_workloads(commsim, tmp_path):
    code, out, _ = commsim("list", "workloads", "resnet50")
    assert code == 0
    assert out.splitlines()[:4] == [
        "resnet50",
        "  parameters  25,557,032",
        "  tensors     161",
        "  n_bytes     102,228,128",
    ]
    rows = json.loads(commsim("list", "workloads", "--format", "json")[1])
    assert {row["workload"]: row["takes"] for row in rows}["gpt2:size=xl"] == (
        "size=small, sequence_length=chosen, dtype=float32"
    )
    assert [row["workload"] for row in rows] == list(registry.specs())
    (row,) = json.loads(commsim("list", "workloads", written(tmp_path, GPT2_XL), "--format", "json")[1])
    assert (row["parameters"], row["sample"]) == (1_557_611_200, "sequence of 1024 tokens")
    code, _, err = commsim("list", "workloads", "gpt2:size=xxl")
    assert (code, err) == (2, "commsim: unknown size of gpt2: 'xxl'; did you mean 'xl'?\n")
