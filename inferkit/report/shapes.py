"""What has the shape of something that identifies: addresses, identifiers and paths, as they stand in texts."""

import re

PUBLIC = r"https?://(?:[\w-]+\.)*(?:vega\.github\.io|json-schema\.org|docs\.nvidia\.com|jupyter\.org|python\.org)"
"""Pages that anybody may have opened; other addresses may be a company's own."""
_HEX = "[0-9A-Fa-f]"


def _after(letters: str) -> str:
    """Return what stands before a match: none of these letters, or the end of a line break that was written out."""
    return rf"(?:(?<![{letters}])|(?<=\\[nrt]))"


_WORD, _NO_HEX, _NO_DASH = _after("0-9A-Za-z"), _after("0-9A-Fa-f"), _after("0-9A-Za-z-")
_NO_COLON, _NO_DOT, _NEITHER = _after(r"\w:"), _after(r"\w."), _after(r"\w:.")
_NO_GUID, _NO_MAC = _after("0-9A-Za-z:"), _after("0-9A-Za-z:-")
_MAIL = _after(r"\w.+-")
_SERVER, _SLASH = _after(r"\w./:\\-"), _after(r"\w\\/.)\]}…%&~")
_IDENTIFIERS = (
    rf"(?:(?:GPU|MIG|MIG-GPU)-)?{_NO_HEX}{_HEX}{{8}}(?:-{_HEX}{{4}}){{3}}-{_HEX}{{12}}(?:/\d+)*",  # UUID
    rf"{_WORD}(?:{_HEX}{{64}}|{_HEX}{{32}})(?![0-9A-Za-z])",  # machine-id, containers, digests of what is on a machine
    rf"{_WORD}0x{_HEX}{{16,}}",  # WWN
    rf"{_WORD}(?:LVM|CRYPT|DMRAID|mpath|dm-uuid|naa|eui|t10|wwn|iqn|nqn|nvme|uuid)[.-](?=\S{{0,64}}\d)[\w.:+-]{{12,}}",
    rf"{_NO_DASH}\w{{6}}(?:-\w{{4}}){{5}}-\w{{6}}(?![\w-])",  # LVM
    rf"{_NO_COLON}{_HEX}{{8}}(?::{_HEX}{{8}}){{3}}(?![\w:])",  # md
)
_MAC = rf"{_HEX}{{2}}(?P<between>[:-]){_HEX}{{2}}(?:(?P=between){_HEX}{{2}}){{4,18}}"
_ADDRESSES = (
    rf"{_NO_MAC}{_MAC}(?![0-9A-Za-z:-])",
    rf"{_NO_GUID}{_HEX}{{4}}(?::{_HEX}{{4}}){{3}}(?![0-9A-Za-z:])",  # GUID of an InfiniBand port
    rf"{_MAIL}[\w.+-]+@[\w-]+(?:\.[\w-]+)*(?::/[^\s\"'<>`,;)\]}}]*)?",  # mail, a login, Lustre
    rf"{_WORD}[A-Za-z][A-Za-z0-9+.-]{{1,14}}://[^\s\"'<>`)\]}}]+",
)
_IP = (
    rf"{_NO_DOT}(?:\d{{1,3}}\.){{3}}\d{{1,3}}(?![\w]|\.\d)",
    rf"{_NEITHER}{_HEX}{{0,4}}(?::{_HEX}{{0,4}}){{2,7}}(?:%\w+)?(?![\w:])",
)
SHAPES = {
    "standin": r"<(?:host|user|id|address|share|path|data folder) \d+>(?:/[\w.-]+)?",  # of an earlier export
    "data": r"data:[\w/+.-]*(?:;[\w=.-]+)*,[^\s\"'<>)]*",
    "public": rf"{PUBLIC}(?![\w.])[^\s\"'<>`)\]}}]*",
    "address": "|".join(_ADDRESSES),
    "share": rf"{_SERVER}(?:\[[0-9A-Fa-f:]+\]|[A-Za-z0-9][\w.-]+):/(?=[\w.-])[^\s\"'<>`,;:)\]}}|]*",
    "encoded": r"[^\s\"'<>=,;%]{0,400}%2[Ff][^\s\"'<>,;]*",
    "version": rf"(?:(?:TensorRT(?:-RTX)?|[Vv]ersion|[=>~<]=)[ =]?|{_WORD}v)\d+(?:\.\d+){{3}}(?![\w.])",
    "id": "|".join(_IDENTIFIERS),
    "serial": r"(?:[Ss]erial|SERIAL)(?:[ _]?(?:[Nn]o|[Nn]umber|NUMBER)\.?)?[\"']?\s*[:=]\s*[\"']?(?=\w*\d)[\w-]{4,}",
    "ip": "|".join(_IP),
    "windows": rf"(?:{_WORD}[A-Za-z]:|\\\\[\w.-]+)\\{{1,2}}[^\s\"'<>|:*?]+",
    "quoted": r"(?<=[\"'`])~?/(?:[^\"'`\n<>:/]+/)+[^\"'`\n<>:]*(?=[\"'`])",  # may hold blanks
    "path": (
        rf"(?:{_SLASH}|(?<=-[A-Z]))(?!(?<=<)/\w+\s*>)(?:~\w*)?(?:\\?/){{1,2}}(?=[^\s/])"
        r"(?:[^\s\"'`<>|;,(){}\[\]\\:?]|\\/|:(?=[^\s/\"'<>:]+/))+"
    ),
}
"""Regular expressions by kind, in the order in which they are tried at one place of a text."""
COLOURS = re.compile(r"\\(?:u001b|x1b|033|e)\[[0-9;]*m", re.IGNORECASE)
"""A colour of a terminal that was written out, as JSON and Python do: its last letter is none of the word behind it."""
DEVICES = re.compile(
    r"/dev/(?:shm|null|zero|full|u?random|std(?:in|out|err)|fuse|kvm|nvidia[\w-]*|nvme\d+(?:n\d+(?:p\d+)?)?"
    r"|[shxv]v?d[a-z]+\d*|md\d+|dm-\d+|loop\d+|zram\d+|pmem\d+\w*)"
)
"""Names of devices that any machine has."""
KERNELS = re.compile(r"/(?:proc|sys)(?:/.*)?")
"""What the kernel tells of itself."""
KEPT_NAMES = re.compile(r"[^/\\]+\.(?:tensors|onnx|plan|engine|ipynb|py|yaml|json|so(?:\.[\d.]+)?)")
"""Files whose name stays where their folder's does not: what they are matters, and where they lie does not."""
VERSION = re.compile(r"\d+(?:\.\d+){3,}")
"""A version that looks like an address."""
