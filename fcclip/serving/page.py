"""The web page: drop a picture, type words, see the map, change the words and see it again at once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fastapi
import gradio as gr
from PIL import Image

from fcclip.drawing.style import DEFAULT_STYLE
from fcclip.files.atomic import full_disk_told
from fcclip.files.scratch import scratch_folder
from fcclip.serving.closed import close_doors, keep_as_uploaded
from fcclip.serving.downloads import DOWNLOADS
from fcclip.serving.examples import EXAMPLES
from fcclip.serving.replies import Replies
from fcclip.serving.sessions import Sessions

HERE = Path(__file__).parent
SCRIPT = (HERE / "page.js").read_text(encoding="utf-8")
COUNT_CLICK = (HERE / "click.js").read_text(encoding="utf-8")
RESULT = (HERE / "result.html").read_text(encoding="utf-8")
MESSAGE = '<p class="fc-message"></p>'
VIEWS = [("Panoptic", "panoptic"), ("Instances", "instances"), ("Semantic", "semantic")]
SYSTEM_FONTS = ("system-ui", "Segoe UI", "Roboto", "Helvetica", "Arial", "sans-serif")
FIXED_WIDTH_FONTS = ("ui-monospace", "Consolas", "monospace")
SWEEP = (300, 3600)  # seconds: how often uploaded pictures are looked through, and how old they may get
THUMBNAIL = (96, 68)  # width and height of an example on its button
AT_ONCE = 4  # replies that are worked on; of these, one picture at a time goes through a model
LEAST_SCORE = 0.2  # instances that score less are mostly noise
HEAD = """# Name what you are looking for
Drop a picture and type names. Other names are then answered at once, from the picture as it is encoded."""
GRAMMAR = "Classes between “;”, synonyms between “,”. “=stuff” after what cannot be counted, “>0.6” for a least score."


def mount_page(
    app: fastapi.FastAPI,
    sessions: Sessions,
    path: str = "/",
    max_upload: int | None = None,
    queue: int | None = None,
    root_path: str | None = None,
) -> gr.Blocks:
    """Put the page into a web application.

    Args:
        app: gets it.
        sessions, max_upload, queue: see `build_page`.
        path: the address of the page.
        root_path: the address under which a proxy shows the application.

    Returns:
        The page.
    """
    blocks = build_page(sessions, max_upload, queue)
    gr.mount_gradio_app(
        app,
        blocks,
        path,
        footer_links=[],
        run_history=False,
        show_error=False,  # replies tell errors; what gradio adds would be paths
        root_path=root_path,
        max_file_size=max_upload,
        ssr_mode=False,
        enable_monitoring=False,
        pwa=False,
        mcp_server=False,
        theme=_theme(),
        css_paths=[HERE / "page.css"],
    )
    close_doors(blocks)
    return blocks


def build_page(sessions: Sessions, max_upload: int | None = None, queue: int | None = None) -> gr.Blocks:
    """The page, for `mount_page`.

    Args:
        sessions: keep the picture of every user, and say which models there are and how much may be asked.
        max_upload: bytes of the largest picture that is taken; None for any.
        queue: the most calls that wait; None for any number.
    """
    replies = Replies(sessions)
    blocks = gr.Blocks(title="fcclip", analytics_enabled=False, delete_cache=SWEEP, fill_width=True)
    with blocks:
        gr.Markdown(HEAD)
        with gr.Row(equal_height=False):
            with gr.Column(scale=2, min_width=320):
                question = _question(sessions, max_upload)
            with gr.Column(scale=3, min_width=320):
                answer = _answer()
        _connect(replies, question, answer)
        blocks.unload(replies.leave)
    blocks.queue(max_size=queue, api_open=False)
    return blocks


@dataclass(frozen=True)
class _Question:
    """The parts by which a user asks."""

    picture: gr.Image
    examples: list[gr.Button]
    names: gr.Textbox
    note: gr.HTML
    model: gr.Dropdown
    run: gr.Button
    status: gr.HTML


@dataclass(frozen=True)
class _Answer:
    """The parts that show what was found, and how; `look` are opacity, outlines, labels, palette and least score."""

    view: gr.Radio
    result: gr.HTML
    look: list[Any]
    downloads: list[gr.Button]


def _question(sessions: Sessions, max_upload: int | None) -> _Question:
    most = f"\n(up to {max_upload / 1e6:.3g} MB)" if max_upload else ""
    picture = gr.Image(
        label="Picture",
        type="filepath",
        format="png",
        image_mode=None,
        sources=["upload", "clipboard"],
        height=300,
        placeholder=f"Drop a picture, paste one, or click to choose one{most}",
        buttons=[],
        alt_text="The picture that you gave",
        elem_id="fc-input",
    )
    keep_as_uploaded(picture)
    with gr.Row():
        examples = _example_buttons()
    names = gr.Textbox(
        label="Names",
        info=GRAMMAR,
        placeholder="cat,kitten; sofa; wall=stuff",
        lines=1,
        max_lines=4,
        max_length=sessions.limits.letters,
        elem_id="fc-names",
    )
    note = _part("fc-note", MESSAGE, "showMessage(element, props, watch)")
    models = sessions.models.names
    model = gr.Dropdown(models, value=models[0], label="Model", visible=len(models) > 1, elem_id="fc-model")
    run = gr.Button("Find", variant="primary", elem_id="fc-run")
    status = _part("fc-status", MESSAGE, "showMessage(element, props, watch)")
    return _Question(picture, examples, names, note, model, run, status)


def _answer() -> _Answer:
    view = gr.Radio(VIEWS, value="panoptic", label="Show", elem_id="fc-view")
    result = _part("fc-result", RESULT, "showResult(element, props, watch)")
    with gr.Group():
        with gr.Row():
            opacity = gr.Slider(0, 1, DEFAULT_STYLE.alpha, step=0.05, label="Opacity", min_width=140)
            least = gr.Slider(0, 1, LEAST_SCORE, step=0.05, label="Least score", min_width=140)
        with gr.Row(elem_classes="fc-checks"):
            labels = gr.Checkbox(True, label="Names in the picture", min_width=180)
            outlines = gr.Checkbox(False, label="Contours only", min_width=180)
            palette = gr.Checkbox(False, label="For colour-blind eyes", min_width=180)
    gr.Markdown("## Download")
    with gr.Row():
        downloads = [gr.Button(kind, size="sm", min_width=110, elem_classes="fc-download") for kind in DOWNLOADS]
    return _Answer(view, result, [opacity, least, labels, outlines, palette], downloads)


def _example_buttons() -> list[gr.Button]:
    """A button per example, with its picture small on it; gradio keeps a copy of the small picture."""
    with scratch_folder("page") as folder, full_disk_told(folder / "example.png"):
        buttons = []
        for number, example in enumerate(EXAMPLES):
            path = folder / f"example-{number}.png"
            Image.fromarray(example.render()).resize(THUMBNAIL, Image.Resampling.LANCZOS).save(path)
            buttons.append(gr.Button(example.title, icon=path, size="sm", min_width=90, elem_classes="fc-example"))
    return buttons


def _part(name: str, template: str, call: str) -> gr.HTML:
    """A part of the page that `page.js` fills; its value is data, and its template holds none of it."""
    return gr.HTML(html_template=template, js_on_load=f"{SCRIPT}\n{call};", apply_default_css=False, elem_id=name)


def _connect(replies: Replies, question: _Question, answer: _Answer) -> None:
    """Say what happens at which click; nothing is dropped while another reply is worked on."""
    saver = _part("fc-saver", "<span hidden></span>", "saveFile(props, watch)")
    click = gr.Number(0, precision=0, visible=False)
    poke = gr.Button(visible="hidden", elem_id="fc-poke")
    looks = [answer.view, *answer.look]
    shown = [answer.result, question.note, question.status]
    silent: Any = {"api_visibility": "private", "show_progress": "hidden", "concurrency_limit": None}
    free = silent | {"trigger_mode": "multiple", "js": COUNT_CLICK}
    quiet = free | {"concurrency_id": "work", "concurrency_limit": AT_ONCE}  # what takes memory waits in the queue
    loud = quiet | {"show_progress": "minimal", "show_progress_on": answer.result}
    asked = [click, question.picture, question.names, question.model, *looks]
    gr.on([question.run.click, question.names.submit], replies.run, asked, shown, **loud)
    changes = [part.release if isinstance(part, gr.Slider) else part.input for part in looks]
    gr.on(changes, replies.redraw, [click, *looks], [answer.result, question.status], **quiet)
    question.picture.upload(replies.check, [click, question.picture], shown, **quiet)
    question.picture.clear(replies.clear, [click], shown, **free)
    for example, button in zip(EXAMPLES, question.examples, strict=True):
        taken = button.click(replies.take(example), [click], [question.picture, question.names, *shown], **free)
        taken.then(replies.run, asked, shown, **loud)
    for kind, button in zip(DOWNLOADS, answer.downloads, strict=True):
        button.click(replies.download(kind), [click, *looks], [saver, question.status], **quiet)
    poke.click(lambda: None, **silent)


def _theme() -> gr.Theme:
    """Colours with enough contrast, and fonts of the user's own system."""
    theme = gr.themes.Default(primary_hue="indigo", neutral_hue="slate", font=SYSTEM_FONTS, font_mono=FIXED_WIDTH_FONTS)
    return theme.set(button_primary_background_fill="*primary_600", button_primary_background_fill_hover="*primary_700")
