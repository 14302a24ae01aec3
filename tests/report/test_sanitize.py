"""What a stranger's HTML may not do, and what of ours has to stay."""

import re

import pytest

from inferkit.report import tables
from inferkit.report.sanitize import sanitized

EVIL = [
    "<script>alert(1)</script>",
    "<scr<script>ipt>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<svg onload=alert(1)><script>alert(1)</script></svg>",
    "<svg><animate onbegin=alert(1) attributeName=x></svg>",
    "<math><mtext><table><mglyph><style><img src=x onerror=alert(1)></style></table></mtext></math>",
    "<iframe src='https://evil.example'></iframe>",
    "<iframe srcdoc='<script>alert(1)</script>'>",
    "<object data='x.swf'></object><embed src=x>",
    "<base href='https://evil.example'>",
    "<meta http-equiv=refresh content='0;url=https://evil.example'>",
    "<link rel=stylesheet href='https://evil.example/x.css'>",
    "<style>@import 'https://evil.example/x.css'; body{background:url(https://evil.example)}</style>",
    "<form action='https://evil.example'><input name=a><button formaction='javascript:alert(1)'>x</button></form>",
    "<a href='javascript:alert(1)'>x</a>",
    "<a href=' \tjava\nscript:alert(1)'>x</a>",
    "<a href='data:text/html,<script>alert(1)</script>'>x</a>",
    "<a href='vbscript:x'>x</a>",
    "<img src='https://evil.example/pixel.png'>",
    "<img src='//evil.example/pixel.png' srcset='https://evil.example/2.png 2x'>",
    "<img src='file:///etc/passwd'>",
    "<img src='data:image/svg+xml;base64,PHN2Zz48L3N2Zz4='>",
    "<video src='https://evil.example' poster='https://evil.example'></video>",
    "<table background='https://evil.example/x.png'><tr><td>x</td></tr></table>",
    "<div style='background:url(https://evil.example/x.png)'>x</div>",
    "<div style='background-image:u\\72l(https://evil.example)'>x</div>",
    "<div style=\"background:image-set('https://evil.example/x.png' 1x)\">x</div>",
    "<div style='list-style:url(x)'>x</div>",
    "<div style='width:expression(alert(1))'>x</div>",
    "<div style='position:fixed;top:0;left:0;z-index:9'>x</div>",
    "<div style='margin-top:-999px'>x</div>",
    "<p onclick=alert(1) onmouseover=alert(1)>x</p>",
    "<details open ontoggle=alert(1)><summary>x</summary></details>",
    "<!--[if IE]><script>alert(1)</script><![endif]-->",
    "<noscript><p title='</noscript><img src=x onerror=alert(1)>'></noscript>",
    "<template><script>alert(1)</script></template>",
    "<xmp><script>alert(1)</script></xmp><plaintext>",
    "<audio src onloadstart=alert(1)>",
]
FORBIDDEN = re.compile(
    r"<\s*/?(?:script|svg|math|iframe|object|embed|base|meta|link|style|form|input|button|video|audio|template)\b"
    r"|<[^>]*\s(?:on\w+|src|srcset|poster|background|action|formaction|srcdoc|data)\s*="
    r"|(?:javascript|vbscript|file):|url\(|image-set|expression\(|position|z-index|:-|evil\.example",
    re.IGNORECASE,
)


@pytest.mark.parametrize("html", EVIL)
def test_nothing_of_a_stranger_runs_loads_or_overlays(html: str) -> None:
    clean = sanitized(html)
    assert FORBIDDEN.search(clean) is None, clean
    assert sanitized(clean) == clean


def test_a_link_stays_a_link_that_tells_nobody_where_it_was_clicked() -> None:
    assert sanitized('<a href="https://a.example/x?y=1#z" target=_top>x</a>') == (
        '<a href="https://a.example/x?y=1#z" rel="noopener noreferrer">x</a>'
    )


def test_our_own_tables_badges_folds_and_pictures_stay_as_they_are() -> None:
    table = tables.html_table([["images/s", "1 < 2 & 3"]], ["a", "b"], numbers=[1])
    ours = tables.folded("Facts", table + tables.badge("VALID", "#00704a"))
    clean = sanitized(ours)
    assert re.sub(r"\s", "", clean) == re.sub(r"\s", "", ours)
    picture = '<img alt="a chart" src="data:image/png;base64,iVBORw0KGgo=">'
    assert sanitized(picture) == picture


@pytest.mark.parametrize(
    "style",
    [
        "color:rgb(1, 2, 3)",
        "display:grid;grid-template-columns:repeat(2, minmax(0, 1fr));gap:8px",
        "font:12px/1.5 'DejaVu Sans', sans-serif",
        "width:calc(100% - 4px)",
        "border-left:3px solid #999999;padding:2px 12px 2px 0",
    ],
)
def test_styles_that_draw_in_their_own_place_stay(style: str) -> None:
    assert sanitized(f'<div style="{style}">x</div>') == f'<div style="{style}">x</div>'
