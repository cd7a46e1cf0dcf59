"""What every operator endpoint shares: pages of a list, requests that run once, problem documents."""

from mdm.api.idempotency import Once
from mdm.api.pages import Page, Paging, page_of
from mdm.api.problems import PROBLEMS

__all__ = ["PROBLEMS", "Once", "Page", "Paging", "page_of"]
