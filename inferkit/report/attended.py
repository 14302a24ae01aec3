"""Whether somebody sits before a notebook."""


def attended() -> bool:
    """Tell whether whoever executes this cell can be asked, as JupyterLab can and papermill or nbconvert cannot.

    Jupyter's protocol says so with each request (``allow_stdin``). Widgets that nobody can use are better left out.
    """
    from IPython.core.getipython import get_ipython  # reading records needs no IPython

    kernel = getattr(get_ipython(), "kernel", None)
    return kernel is not None and bool(kernel.get_parent("shell").get("content", {}).get("allow_stdin"))
