from fcclip.evaluation.report.repeats import mean_and_deviation


def test_mean_and_deviation() -> None:
    assert mean_and_deviation([1.0, 2.0, 3.0]) == "2.0 ± 1.0"
    assert mean_and_deviation([12.34]) == "12.3"
