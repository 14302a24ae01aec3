"""What has the shape of something that identifies: addresses, identifiers and paths, as they stand in texts."""

import re

PUBLIC = r"https?://(?:[\w-]+\.)*(?:vega\.github\.io|json-schema\.org|docs\.nvidia\.com|jupyter\.org|python\.org)"
"""Pages that anybody may have opened; other addresses may be a company's own."""
_HEX = "[0-9A-Fa-f]"
_ALONE = r"(?<![0-9A-Za-z])"
_IDENTIFIERS = (
    rf"(?:(?:GPU|MIG|MIG-GPU)-)?(?<!{_HEX}){_HEX}{{8}}(?:-{_HEX}{{4}}){{3}}-{_HEX}{{12}}(?:/\d+)*",  # UUID
    rf"{_ALONE}(?:{_HEX}{{64}}|{_HEX}{{32}})(?![0-9A-Za-z])",  # machine-id, containers, digests of what is on a machine
    rf"{_ALONE}0x{_HEX}{{16,}}",  # WWN
    rf"{_ALONE}(?:LVM|CRYPT|DMRAID|mpath|dm-uuid|naa|eui|t10|wwn|iqn|nqn|nvme|uuid)[.-](?=\S*\d)[\w.:+-]{{12,}}",
    r"(?<![0-9A-Za-z-])\w{6}(?:-\w{4}){5}-\w{6}(?![\w-])",  # LVM
    rf"(?<![\w:]){_HEX}{{8}}(?::{_HEX}{{8}}){{3}}(?![\w:])",  # md
)
_ADDRESSES = (
    rf"(?<![0-9A-Za-z:-]){_HEX}{{2}}(?P<between>[:-]){_HEX}{{2}}(?:(?P=between){_HEX}{{2}}){{4,18}}(?![0-9A-Za-z:-])",
    rf"(?<![0-9A-Za-z:]){_HEX}{{4}}(?::{_HEX}{{4}}){{3}}(?![0-9A-Za-z:])",  # GUID of an InfiniBand port
    r"(?<![\w.])[\w.+-]+@[\w-]+(?:\.[\w-]+)*(?::/[^\s\"'<>`,;)\]}]*)?",  # mail, a login, Lustre
    r"(?<![A-Za-z0-9])[A-Za-z][A-Za-z0-9+.-]{1,14}://[^\s\"'<>`)\]}]+",
)
_IP = (
    r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?![\w]|\.\d)",
    rf"(?<![\w:.]){_HEX}{{0,4}}(?::{_HEX}{{0,4}}){{2,7}}(?:%\w+)?(?![\w:])",
)
SHAPES = {
    "data": r"data:[\w/+.-]*(?:;[\w=.-]+)*,[^\s\"'<>)]*",
    "public": rf"{PUBLIC}(?![\w.])[^\s\"'<>`)\]}}]*",
    "address": "|".join(_ADDRESSES),
    "share": r"(?<![\w./:\\-])(?:\[[0-9A-Fa-f:]+\]|[A-Za-z0-9][\w.-]+):/(?=[\w.-])[^\s\"'<>`,;:)\]}|]*",
    "encoded": r"[^\s\"'<>=,;%]{0,400}%2[Ff][^\s\"'<>,;]*",
    "version": r"(?:(?:TensorRT(?:-RTX)?|[Vv]ersion|[=>~<]=)[ =]?|(?<![A-Za-z0-9])v)\d+(?:\.\d+){3}(?![\w.])",
    "id": "|".join(_IDENTIFIERS),
    "ip": "|".join(_IP),
    "windows": r"(?<![A-Za-z0-9])(?:[A-Za-z]:|\\\\[\w.-]+)\\{1,2}[^\s\"'<>|:*?]+",
    "quoted": r"(?<=[\"'`])~?/(?:[^\"'`\n<>:/]+/)+[^\"'`\n<>:]*(?=[\"'`])",  # may hold blanks
    "path": (
        r"(?:(?<![\w\\/.)\]}…%<&])|(?<=\\[nrt])|(?<=-[A-Z]))~?(?:\\?/){1,2}(?=[^\s/])"
        r"(?:[^\s\"'`<>|;,(){}\[\]\\:?]|\\/|:(?=[^\s/\"'<>:]+/))+"
    ),
}
"""Regular expressions by kind, in the order in which they are tried at one place of a text."""
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
