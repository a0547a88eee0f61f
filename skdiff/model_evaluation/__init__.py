"""Whether one model is better than another, and how far to trust the figure."""

from skdiff.model_evaluation._bootstrap._estimator import (
    BootstrapScore,
    bootstrap_632_score,
)
from skdiff.model_evaluation._compare._compare import compare_models
from skdiff.model_evaluation._compare._display import ModelComparisonDisplay
from skdiff.model_evaluation._compare._report import ModelComparison
from skdiff.model_evaluation._data_sets._ranks import (
    friedman_test,
    nemenyi_test,
    pairwise_wilcoxon,
    wilcoxon_test,
)
from skdiff.model_evaluation._holdout._display import ReusableHoldoutDisplay
from skdiff.model_evaluation._holdout._estimator import (
    BudgetExhausted,
    ReusableHoldout,
    make_reusable_scorer,
)
from skdiff.model_evaluation._leakage._estimator import PreprocessingLeakageAudit
from skdiff.model_evaluation._multiple import PairwiseTests, adjust_pvalues
from skdiff.model_evaluation._nested._estimator import NestedCV
from skdiff.model_evaluation._results import TestResult
from skdiff.model_evaluation._rows._delong import delong_test
from skdiff.model_evaluation._rows._mcnemar import mcnemar_test
from skdiff.model_evaluation._rows._proportions import (
    proportion_difference_test,
    score_interval,
)
from skdiff.model_evaluation._rows._resampling import (
    paired_bootstrap_test,
    paired_permutation_test,
)
from skdiff.model_evaluation._rows._several import (
    cochran_q_test,
    looney_f_test,
    pairwise_mcnemar,
)
from skdiff.model_evaluation._splits._five_by_two import ftest_5x2cv, ttest_5x2cv
from skdiff.model_evaluation._splits._t_tests import (
    bayesian_correlated_ttest,
    corrected_resampled_ttest,
    kfold_ttest,
)
from skdiff.model_evaluation._temporal._display import TemporalReuseDisplay
from skdiff.model_evaluation._temporal._estimator import TemporalModelSelector

__all__ = [
    "BootstrapScore",
    "BudgetExhausted",
    "ModelComparison",
    "ModelComparisonDisplay",
    "NestedCV",
    "PairwiseTests",
    "PreprocessingLeakageAudit",
    "ReusableHoldout",
    "ReusableHoldoutDisplay",
    "TemporalModelSelector",
    "TemporalReuseDisplay",
    "TestResult",
    "adjust_pvalues",
    "bayesian_correlated_ttest",
    "bootstrap_632_score",
    "cochran_q_test",
    "compare_models",
    "corrected_resampled_ttest",
    "delong_test",
    "friedman_test",
    "ftest_5x2cv",
    "kfold_ttest",
    "looney_f_test",
    "make_reusable_scorer",
    "mcnemar_test",
    "nemenyi_test",
    "paired_bootstrap_test",
    "paired_permutation_test",
    "pairwise_mcnemar",
    "pairwise_wilcoxon",
    "proportion_difference_test",
    "score_interval",
    "ttest_5x2cv",
    "wilcoxon_test",
]
