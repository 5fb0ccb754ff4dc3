"""What must hold before anything is written: a rule for each gate, pure, and the table of what they decided."""

from __future__ import annotations

from promoter.promotion.gates.application import CREATE_IT as CREATE_IT
from promoter.promotion.gates.application import followed as followed
from promoter.promotion.gates.application import no_parameter_files as no_parameter_files
from promoter.promotion.gates.application import not_created as not_created
from promoter.promotion.gates.application import not_overridden as not_overridden
from promoter.promotion.gates.application import rendered_by_argocd as rendered_by_argocd
from promoter.promotion.gates.application import warnings as warnings
from promoter.promotion.gates.decided import MOST_FAILURES as MOST_FAILURES
from promoter.promotion.gates.decided import given_up as given_up
from promoter.promotion.gates.decided import not_undone as not_undone
from promoter.promotion.gates.decided import quarantine_tag as quarantine_tag
