"""Patterns of tokenizer.json (Split, Replace), against the `tokenizers` package: the same pieces, or a refusal by name."""

import json
import os
import random
import subprocess
import sys

import pytest

tokenizers = pytest.importorskip("tokenizers")

REAL = {
    "gpt-2": r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    "llama-3": r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    "cl100k": r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s",
    "o200k": r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    "deepseek": r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    "bloom": r" ?[^(\s|[.,!?…。，、।۔،])]+",
    "kimi": r"[\p{Han}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
}
PATTERNS = [
    # classes
    r"[a-z&&[^aeiou]]+", r"[a-z&&b-y&&[^m]]", r"[^a-c&&b-z]+", r"[a[bc]]+", r"[a[^bc]]+", r"[^a[bc]]+", r"[[a-c][1-3]]+", r"[]a]", r"[]",
    r"[^]a]", r"[a-]+", r"[-a]+", r"[a\-z]+", r"[a-c-1]+", r"[a-\d]+", r"[\d-z]+", r"[&&a]", r"[a&b]+", r"[a&&]", r"[\[\]]+", r"[\b]", r"[\h]+", r"[#a]+",
    r"[[:alpha:]]+", r"[[:^alpha:]]+", r"[[:punct:]]+", r"[[:space:]]+", r"[[:word:]]+", r"[[:digit:]]+", r"[[:upper:][:digit:]]+", r"[[:xdigit:]]+",
    r"[[:alnum:]]+", r"[[:blank:]]+", r"[[:cntrl:]]+", r"[[:graph:]]+", r"[[:print:]]+", r"[[:foo:]]+", r"[:alpha:]+", r"[z-a]", r"[a-",
    # repetitions
    r"a{1,3}+", r"a{1,3}+a", r"\p{N}{1,3}+", r"a{2}+", r"a{2}?", r"a{2}?b", r"a{1,2}?", r"a{,2}", r"a{,2}+", r"a{2,}+", r"a{,}", r"a{", r"a{1", r"a{1,x}", r"a{3,1}", r"a{0}b",
    r"a++", r"a*+a", r"a?+a", r"a+?", r"a**", r"a+*", r"a+?+", r"(?:a{1,2}){2}+", r"(a*)*b", r"(?:a|b*)+", r"(?:|a)+", r"x*", r"(?:)", r"", r"a??", r"{1}", r"+a",
    # anchors and lines
    r"^b", r"^", r"$", r"a$", r"\s+$", r"\s*$", r"^\s+", r"\Ab", r"\A\s", r"b\z", r"\n\Z", r"a\Z", r"\Ga", r"(?m).", r"(?m:a.b)", r".", r".+", r"(?s).", r"(?-m).",
    # escapes
    r"\h+", r"\H+", r"\R", r"\X", r"\v", r"\w+", r"\W+", r"\d+", r"\D+", r"\s", r"\S+", r"\s+", r"\b", r"\B", r"\b\w", r"\bab\b", r"\N+", r"\O", r"\y", r"\Y", r"\a", r"\e", r"\f", r"\t", r"\0", r"\101", r"\x41",
    r"\x{41}", r"\x{e9}", r"\xe9", r"\u0041", r"\u00e9", r"\Kb", r"a\Kb", r"\Qa.b\E", r"\cA", r"\pL", r"\-", r"\#", r"\é", r"\k", r"\p", r"\_",
    # properties
    r"\p{^L}+", r"\P{^L}+", r"\p{l}+", r"\p{Letter}+", r"\p{Han}+", r"\p{Script=Han}+", r"\p{Alphabetic}+", r"\p{White_Space}+", r"\p{Greek}", r"\p{Alpha}+", r"\p{Foo}",
    r"\p{Lu}", r"\P{Lu}+", r"\p{Punct}+", r"\p{Emoji}", r"\p{Any}", r"\p{Cn}", r"\p{C}", r"\p{M}+", r"\p{N}+", r"\p{S}+", r"\p{P}+", r"\p{Z}+", r"\p{Nl}|\p{No}", r"\p{LC}", r"\p{L&}", r"\p{",
    # case
    r"(?i)ss", r"(?i:ss)", r"(?i)k", r"(?i)s", r"(?i:'s|'t)", r"(?i)ß", r"(?i)st", r"(?i:fi)", r"(?i)[a-s]+", r"(?i)[^a-s]+", r"(?i)\p{Lu}+", r"(?i)é", r"(?i)i", r"(?i)İ", r"a(?i)b", r"a(?i:b)c",
    r"(?i-m:a)b", r"(?i)[ß]", r"(?i:[k-t])",
    # groups
    r"(?=[A-Z])", r"(?!\s)", r"(?<=a)b", r"(?<!a)b", r"(?<=a|bc)1", r"(?<=a+)b", r"(?<=\s)\S+", r"(?>a|ab)1", r"(?~ab)", r"(?~|b|a+)", r"(a)\1", r"(?<n>a|b)\k<n>", r"(?x) a  b # c", r"a#b", r"(?#note)a",
    r"(?<n>a\g<n>?b)", r"(?(a)b|c)", r"(a)?(?(1)b|c)", r"(?P<n>a)", r"(?=a)*b", r"(?i", r"(a", r"a)", r"|a", r"a|", r"a||b", r"(?=.*b)a", r"(?<=^)a", r"(?=$)\n", r"\p{L}+(?= )", r" (?=\S)", r"(?*a)", r"(?a:\w)+", r"(?u:\w)+",
]
PIECES = [
    "a", "b", "c", "ab", "bc", "aa", "aaa", "aaaa", "s", "ss", "k", "m", "z", "A", "B", "S", "K", "W", "1", "12", "123", "_", "-", "&", "#", ".", ",", "!", "?", "[", "]", "{", "}", "^",
    "$", "+", "~", "'", "'s", "'T", "'\u017f", "\n", "\n\n", "\r\n", "\r", "\t", "\v", "\f", " ", "  ", "\u0085", "\u00a0", "\u180e", "\u2028", "\u2029", "\u3000", "\u200b",
    "\u00df", "\u1e9e", "\u017f", "\u212a", "\u0130", "i", "\u0131", "\ufb06", "\ufb01", "\u00e9", "e\u0301", "\u00c9", "\u00b5", "\u4f60", "\u597d", "\u3042", "\u0661", "\u00bd", "\u2160", "\u00b2",
    "\u03b1", "\u0410", "\u0e01\u0e33", "\U0001f600", "\U0001f468\u200d\U0001f469", "\u20ac", "\u201c", "\u203f", "\u0000", "\u001b", "\u007f", "\ufffd",
]
BEHAVIORS = {"Isolated": "isolated", "Removed": "removed", "MergedWithPrevious": "merged_with_previous", "MergedWithNext": "merged_with_next",
             "Contiguous": "contiguous"}
# What versions of Oniguruma differ in, and what it does beyond matching.
REFUSED = [r"\R", r"(?:\R)+", r"(?(a)b|c)", r"(a)?(?(1)b|c)", r"\N+", r"\O", r"\y", r"\Y", r"\X", r"[[:punct:]]+", r"\p{Punct}+", r"\p{^PUNCT}", r"[[:foo:]]+", r"[:alpha:]+", r"\Qa.b\E", r"(?a:\w)+", r"(?u:\w)+", r"(?s).", r"(?*a)",
           r"(?I:a)", r"(*FAIL)a", r"(?{a})", r"(?W:\w)", r"[\N]", r"[a[:bar]]"]


def texts(seed, count=80):
    rng = random.Random(seed)
    return ["a\n", "b", "ab\nab\n"] + ["".join(rng.choice(PIECES) for _ in range(rng.randint(1, 14))) for _ in range(count)]


@pytest.fixture(scope="module")
def ask():
    with subprocess.Popen([os.environ["ACCORDION_PIECES"]], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as program:
        def answer(question):
            program.stdin.write(json.dumps(question) + "\n")
            program.stdin.flush()
            return json.loads(program.stdout.readline())

        yield answer


def check_split(ask, pattern, samples, behavior="Isolated", invert=False):
    """Whether it was not refused; then the pieces were the same."""
    try:
        oracle = tokenizers.pre_tokenizers.Split(tokenizers.Regex(pattern), BEHAVIORS[behavior], invert=invert)
    except Exception:  # what it raises is Exception itself
        oracle = None
    answer = ask({"split": pattern, "behavior": behavior, "invert": invert, "texts": samples})
    if "refused" in answer:
        assert pattern in answer["refused"] and "\n" not in answer["refused"].replace(pattern, "")
        return False
    assert oracle is not None, answer
    for text, pieces in zip(samples, answer["pieces"]):
        assert pieces == [piece for piece, _ in oracle.pre_tokenize_str(text)], (pattern, behavior, invert, text)
    return True


@pytest.mark.parametrize("name", REAL)
def test_patterns_of_real_tokenizers(name, ask):
    assert check_split(ask, REAL[name], texts(name, 3000))


@pytest.mark.parametrize("pattern", PATTERNS)
def test_split(pattern, ask):
    rng = random.Random(pattern)
    understood = check_split(ask, pattern, texts(pattern, 200))
    try:
        tokenizers.Regex(pattern)
    except Exception:
        assert not understood
    else:
        assert understood == (pattern not in REFUSED)
    check_split(ask, pattern, texts(pattern), rng.choice(list(BEHAVIORS)), rng.random() < 0.5)


@pytest.mark.parametrize("pattern", REFUSED)
def test_what_may_mean_something_else_is_refused(pattern, ask):
    assert not check_split(ask, pattern, [])


@pytest.mark.parametrize("behavior", BEHAVIORS)
@pytest.mark.parametrize("invert", [False, True])
@pytest.mark.parametrize("pattern", [r"(?=[A-Z])", r"a*", r"\s+", r"a|$", r"\b", "^", r"b\b|"])
def test_behaviors(behavior, invert, pattern, ask):
    assert check_split(ask, pattern, texts(pattern, 300), behavior, invert)


@pytest.mark.parametrize("seed", range(20))
def test_random_patterns(seed, ask):
    """Patterns put together at random, each as `tokenizers` has it or refused."""
    rng = random.Random(seed)
    atoms = [pattern for pattern in PATTERNS if pattern.count("(") == pattern.count(")") and "\\K" not in pattern and "(?x)" not in pattern]

    def made():
        parts = [rng.choice(atoms) for _ in range(rng.randint(1, 3))]
        if rng.random() < 0.3:
            parts = [rng.choice(["(?:%s)", "(?=%s)", "(?!%s)", "(?i:%s)", "(?:%s)+", "(?>%s)"]) % part for part in parts]
        return rng.choice(["", "|"]).join(parts)

    answers = [check_split(ask, made(), texts(seed, 20)) for _ in range(250)]
    assert sum(answers) > 100


@pytest.mark.parametrize("pattern", [r" {2,}", r"a*", r"$", r"^", r"[a-z&&[^b]]", r"\s+", r"(?=b)", r"\p{M}", r"a{1,3}+"])
def test_replace(pattern, ask):
    oracle = tokenizers.normalizers.Replace(tokenizers.Regex(pattern), "\u2581x")
    samples = texts(pattern, 300)
    assert ask({"replace": pattern, "content": "\u2581x", "texts": samples})["texts"] == [oracle.normalize_str(text) for text in samples]


if __name__ == "__main__":
    sys.exit(pytest.main([__file__, "-q"]))
