from tests.engines.conftest import make_model

__all__ = ["make_model"]
