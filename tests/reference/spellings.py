"""The spelling table: for each family what stands in a config.json of transformers 4.44 or 5 (or of a person), and what has to
come of it. A row is (family, config.json, expected): expected is None where the installed transformers reads the file as it
stands, another config.json that means the same where the installed version does not read this one, or the words that a
refusal must hold.

The files of 4.44 are those that its save_pretrained wrote for these sizes."""

VOCABULARY = 61
SIZES = {
    "gpt2": dict(vocab_size=VOCABULARY, n_positions=64, n_embd=48, n_layer=2, n_head=4),
    "gpt_neox": dict(vocab_size=VOCABULARY, hidden_size=48, num_hidden_layers=2, num_attention_heads=3, intermediate_size=64,
                     max_position_embeddings=64),
    "llama": dict(vocab_size=VOCABULARY, hidden_size=48, num_hidden_layers=2, num_attention_heads=6, num_key_value_heads=2,
                  intermediate_size=64, max_position_embeddings=64),
    "mpt": dict(vocab_size=VOCABULARY, d_model=48, n_layers=2, n_heads=4, max_seq_len=64),
}
SIZES["mistral"] = SIZES["llama"] | dict(sliding_window=7)
SIZES["qwen2"] = SIZES["llama"]
SIZES["gemma2"] = SIZES["llama"] | dict(head_dim=12, sliding_window=7, query_pre_attn_scalar=10, attn_logit_softcapping=1.5,
                                        final_logit_softcapping=3.0)

WRITTEN_BY_4_44 = {
    "gpt2": dict(activation_function="gelu_new", attn_pdrop=0.1, bos_token_id=50256, embd_pdrop=0.1, eos_token_id=50256,
                 initializer_range=0.02, layer_norm_epsilon=1e-05, n_inner=None, reorder_and_upcast_attn=False, resid_pdrop=0.1,
                 scale_attn_by_inverse_layer_idx=False, scale_attn_weights=True, summary_activation=None,
                 summary_first_dropout=0.1, summary_proj_to_labels=True, summary_type="cls_index", summary_use_proj=True,
                 use_cache=True),
    "gpt_neox": dict(attention_bias=True, attention_dropout=0.0, bos_token_id=0, classifier_dropout=0.1, eos_token_id=2,
                     hidden_act="gelu", hidden_dropout=0.0, initializer_range=0.02, layer_norm_eps=1e-05, rope_scaling=None,
                     rotary_emb_base=500, rotary_pct=0.5, tie_word_embeddings=False, use_cache=True, use_parallel_residual=True),
    "llama": dict(attention_bias=False, attention_dropout=0.0, bos_token_id=1, eos_token_id=2, hidden_act="silu",
                  initializer_range=0.02, mlp_bias=False, pretraining_tp=1, rms_norm_eps=1e-06, rope_scaling=None,
                  rope_theta=500.0, tie_word_embeddings=False, use_cache=True),
    "mistral": dict(attention_dropout=0.0, bos_token_id=1, eos_token_id=2, head_dim=8, hidden_act="silu", initializer_range=0.02,
                    rms_norm_eps=1e-06, rope_theta=10000.0, sliding_window=7, tie_word_embeddings=False, use_cache=True),
    "qwen2": dict(attention_dropout=0.0, hidden_act="silu", initializer_range=0.02, max_window_layers=28, rms_norm_eps=1e-06,
                  rope_theta=10000.0, sliding_window=None, tie_word_embeddings=False, use_cache=True, use_sliding_window=False),
    "gemma2": dict(attention_bias=False, attention_dropout=0.0, attn_logit_softcapping=50.0, bos_token_id=2,
                   cache_implementation="hybrid", eos_token_id=1, final_logit_softcapping=30.0, head_dim=12,
                   hidden_activation="gelu_pytorch_tanh", initializer_range=0.02, pad_token_id=0, query_pre_attn_scalar=10,
                   rms_norm_eps=1e-06, rope_theta=10000.0, sliding_window=7, use_cache=True),
    "mpt": dict(attn_config=dict(model_type=""), emb_pdrop=0.0, embedding_fraction=1.0, expansion_ratio=4, init_device="cpu",
                initializer_range=0.02, layer_norm_epsilon=1e-05, learned_pos_emb=True, logit_scale=None, no_bias=True,
                norm_type="low_precision_layernorm", resid_pdrop=0.0, use_cache=False, verbose=0),
}

DEFAULT = dict(rope_type="default", rope_theta=500.0)
LINEAR = dict(rope_type="linear", factor=2.0)
LLAMA3 = dict(rope_type="llama3", factor=4.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=32)
FULL, SLIDING = "full_attention", "sliding_attention"
NESTED = {FULL: LINEAR | dict(rope_theta=500.0), SLIDING: LINEAR | dict(rope_theta=500.0)}

ROWS = {}


def row(family, name, changes=None, expected=None, without=()):
    """A row of the table: the family's sizes with changes; `expected` in the same form where it is a dictionary."""
    config = {key: value for key, value in (SIZES[family] | (changes or {})).items() if key not in without}
    if isinstance(expected, dict):
        expected = SIZES[family] | expected
    assert (family, name) not in ROWS
    ROWS[family, name] = (config, expected)


for family, settings in WRITTEN_BY_4_44.items():
    row(family, "as 4.44 writes it", settings)
    row(family, "sizes alone")
    row(family, "unknown key", dict(gate_of_a_later_version=2))  # parity, and a notice
    row(family, "quantised", dict(quantization_config=dict(bits=4)), "quantization_config")
    row(family, "other tying", dict(tie_word_embeddings=family not in ("gpt2", "gemma2", "mpt")))
    row(family, "null tying", dict(tie_word_embeddings=None), "tie_word_embeddings is null")
    row(family, "settings by layer", dict(per_layer_config={"0": {}}), "per_layer_config")

for family in ("llama", "mistral", "qwen2", "gemma2"):
    row(family, "theta of its own", dict(rope_theta=500.0, rope_scaling=None))
    row(family, "theta in rope_scaling", dict(rope_scaling=DEFAULT))
    row(family, "theta in rope_parameters", dict(rope_parameters=DEFAULT))
    row(family, "linear by type", dict(rope_theta=500.0, rope_scaling=dict(type="linear", factor=2.0)))
    row(family, "linear with its theta", dict(rope_scaling=LINEAR | dict(rope_theta=500.0)))
    row(family, "llama3 in rope_parameters", dict(rope_parameters=LLAMA3 | dict(rope_theta=500.0)))
    row(family, "scaling and parameters alike", dict(rope_scaling=LINEAR, rope_parameters=LINEAR, rope_theta=500.0))
    row(family, "scaling and parameters differ", dict(rope_scaling=LINEAR, rope_parameters=DEFAULT), "rope_parameters")
    row(family, "theta twice", dict(rope_scaling=DEFAULT, rope_theta=10000.0), "rope_theta")
    row(family, "null theta", dict(rope_theta=None), "rope_theta is null")
    row(family, "factor without a type", dict(rope_scaling=dict(factor=2.0)), "rope_type is missing")
    row(family, "yarn", dict(rope_scaling=dict(type="yarn", factor=2.0)), "'yarn'")
    row(family, "padding from the end", dict(pad_token_id=-1))
    row(family, "padding outside", dict(pad_token_id=VOCABULARY), "pad_token_id")
    row(family, "tanh", dict(hidden_act="gelu", hidden_activation="gelu"), "hidden_act")
for kind in ("dynamic", "longrope", "proportional"):
    row("llama", kind, dict(rope_parameters=dict(rope_type=kind, factor=2.0)), f"'{kind}'")
# Transformers 4.44 lets `type` win, 5 `rope_type`.
row("llama", "two types", dict(rope_scaling=LINEAR | dict(type="default")), "type")
row("llama", "member without meaning", dict(rope_scaling=LINEAR | dict(beta_fast=32)))  # parity, and a notice
row("llama", "unknown member", dict(rope_scaling=LINEAR | dict(mrope_section=[1, 2])), "mrope_section")
row("llama", "by type of layer", dict(rope_parameters=NESTED), "layer_types")
row("llama", "partly rotated", dict(partial_rotary_factor=0.5), "partial_rotary_factor")
row("llama", "null key heads", dict(num_key_value_heads=None, head_dim=None))
row("llama", "no key heads", without=["num_key_value_heads"])
row("llama", "wide heads", dict(head_dim=24, rms_norm_eps=1e-2))
row("llama", "biases", dict(attention_bias=True, mlp_bias=True))
row("llama", "null bias", dict(attention_bias=None), "attention_bias")
row("llama", "cut products", dict(pretraining_tp=2))  # parity with 5, which does not read it, and a notice
row("llama", "a window", dict(sliding_window=8), "sliding_window")
row("llama", "dropout", dict(attention_dropout=0.5))

row("mistral", "no window", dict(sliding_window=None))
row("mistral", "default window", without=["sliding_window"])
row("mistral", "default key heads", dict(num_attention_heads=16, hidden_size=64), without=["num_key_value_heads"])
# The installed version wants a number; 4.44 takes as many as heads.
row("mistral", "null key heads", dict(num_key_value_heads=None), dict(num_key_value_heads=6))
row("mistral", "types of layers", dict(layer_types=[FULL, SLIDING]), "layer_types")

row("qwen2", "default key heads", dict(num_attention_heads=32, hidden_size=64), without=["num_key_value_heads"])
row("qwen2", "null key heads", dict(num_key_value_heads=None))
row("qwen2", "last layer slides", dict(use_sliding_window=True, sliding_window=7, max_window_layers=1))
row("qwen2", "types of layers", dict(use_sliding_window=True, sliding_window=7, layer_types=[SLIDING, FULL]))
row("qwen2", "windows off", dict(use_sliding_window=False, sliding_window=7, max_window_layers=0))
row("qwen2", "null window", dict(use_sliding_window=True, sliding_window=None, max_window_layers=0))
row("qwen2", "sliding without a window", dict(use_sliding_window=False, layer_types=[SLIDING, FULL]), "sliding_window")
# The installed version fails on settings by type of layer in these families; where all types say the same they mean this.
for family in ("qwen2", "gemma2"):
    windows = dict(use_sliding_window=True) if family == "qwen2" else {}
    types = windows | dict(layer_types=[SLIDING, FULL], sliding_window=7)
    row(family, "by type of layer", types | dict(rope_parameters=NESTED), types | dict(rope_parameters=NESTED[FULL]))
    row(family, "differing by type of layer", types | dict(rope_parameters=NESTED | {FULL: DEFAULT}), "rope_parameters")
    row(family, "for one type of layer", types | dict(rope_parameters={FULL: DEFAULT}), "rope_parameters.sliding_attention")
    row(family, "no rotation in a layer", types | dict(rope_parameters={FULL: None, SLIDING: DEFAULT}), "rope_parameters.full_attention")

row("gemma2", "null caps", dict(attn_logit_softcapping=None, final_logit_softcapping=None))
row("gemma2", "default caps", without=["attn_logit_softcapping", "final_logit_softcapping"])
row("gemma2", "default head", dict(hidden_size=32, num_attention_heads=2), without=["head_dim"])
row("gemma2", "no scale", None, "query_pre_attn_scalar", without=["query_pre_attn_scalar"])  # 4.44 takes 224, 5 takes 256
row("gemma2", "no key heads", None, "num_key_value_heads", without=["num_key_value_heads"])  # 4.44 takes 16, 5 takes 4
row("gemma2", "null head", dict(head_dim=None), "head_dim")
row("gemma2", "hidden_act aside", dict(hidden_act="relu", hidden_activation="gelu_pytorch_tanh"))
row("gemma2", "null window", dict(sliding_window=None), "sliding_window")
row("gemma2", "types of layers", dict(layer_types=[FULL, SLIDING]))
row("gemma2", "biases", dict(attention_bias=True))
row("gemma2", "both ways", dict(use_bidirectional_attention=True), "use_bidirectional_attention")

row("gpt_neox", "as 4.48 writes it", dict(rotary_pct=0.5, rotary_emb_base=500, partial_rotary_factor=0.5, rope_theta=500))
row("gpt_neox", "rope_parameters", dict(rope_parameters=DEFAULT | dict(partial_rotary_factor=1.0)))
row("gpt_neox", "default share", dict(rope_parameters=DEFAULT))
row("gpt_neox", "linear", dict(rotary_pct=1.0, rope_scaling=dict(type="linear", factor=2.0)))
row("gpt_neox", "llama3", dict(rotary_pct=1.0, rope_parameters=LLAMA3 | dict(rope_theta=500.0)))
row("gpt_neox", "theta alone", dict(rope_theta=500), "rope_theta")  # read by no version
row("gpt_neox", "share alone", dict(partial_rotary_factor=1.0), "partial_rotary_factor")
row("gpt_neox", "base twice", dict(rotary_emb_base=500, rope_parameters=dict(rope_type="default", rope_theta=400.0)), "rotary_emb_base")
row("gpt_neox", "dynamic", dict(rope_scaling=dict(type="dynamic", factor=2.0)), "'dynamic'")
row("gpt_neox", "no biases", dict(attention_bias=False))
row("gpt_neox", "sequential", dict(use_parallel_residual=False, hidden_act="gelu_fast", layer_norm_eps=1e-3))
row("gpt_neox", "padding", dict(pad_token_id=3))

COMMON_NAMES = dict(hidden_size=48, num_hidden_layers=2, num_attention_heads=4)
row("gpt2", "common names", COMMON_NAMES | dict(max_position_embeddings=64),
    without=["n_embd", "n_layer", "n_head", "n_positions"])
row("gpt2", "two names of a size", dict(hidden_size=96), "hidden_size")  # transformers takes this one
row("gpt2", "inner width", dict(n_inner=40, layer_norm_epsilon=1e-3))
row("gpt2", "n_ctx aside", dict(n_ctx=32))  # parity, and a notice
row("gpt2", "without scale", dict(scale_attn_weights=False, reorder_and_upcast_attn=True))
row("gpt2", "null scale", dict(scale_attn_weights=None), "scale_attn_weights")
row("gpt2", "scale by layer", dict(scale_attn_by_inverse_layer_idx=True), "scale_attn_by_inverse_layer_idx")
row("gpt2", "cross attention", dict(add_cross_attention=True), "add_cross_attention")
row("gpt2", "padding", dict(pad_token_id=3))
for name in ("gelu", "gelu_fast", "gelu_pytorch_tanh", "gelu_python"):
    row("gpt2", name, dict(activation_function=name))
for name in ("relu", "quick_gelu", "gelu_10", "silu"):
    row("gpt2", name, dict(activation_function=name), "activation_function")

row("mpt", "common names", COMMON_NAMES, without=["d_model", "n_layers", "n_heads"])
row("mpt", "two names of a size", dict(num_hidden_layers=1), "num_hidden_layers")
row("mpt", "scale", dict(attn_config=dict(softmax_scale=0.3, alibi=True, clip_qkv=None)))
row("mpt", "null attention", dict(attn_config=None, n_heads=3))
for key, value in dict(clip_qkv=0.5, alibi=False, alibi_bias_max=16, attn_type="multiquery_attention", prefix_lm=True, qk_ln=True,
                       attn_uses_sequence_id=True).items():
    row("mpt", key, dict(attn_config={key: value}), f"attn_config.{key}")
for key, value in dict(expansion_ratio=2, no_bias=False, logit_scale=0.5, embedding_fraction=0.5, norm_type="rmsnorm").items():
    row("mpt", key, {key: value}, key)
