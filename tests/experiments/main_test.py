import shutil

import pytest
import tiny

from multirater_jax.checkpoints import CheckpointError, restore_params
from multirater_jax.workdir import Lock

HARMONIZED = f'--config={tiny.CONFIGS}/harmonized.py'


def contents(folder):
  """Every file with its time of change and bytes."""
  files = sorted(p for p in folder.rglob('*') if p.is_file())
  return {str(p): (p.stat().st_mtime_ns, p.read_bytes()) for p in files}


@pytest.fixture
def copy(finished, tmp_path):
  """A finished run that may be changed."""
  return shutil.copytree(finished, tmp_path / 'run')


@pytest.mark.parametrize(
  ('argv', 'message'),
  [
    ([], 'Give --config=FILE'),
    (['--config=none.py'], 'There is no config file none.py'),
    ([f'{HARMONIZED}:lidc_slices'], '--config.data.manual_dir='),
    ([f'{HARMONIZED}:folder', '--config.data.manual_dir=/nowhere'], '/nowhere'),
  ],
)
def test_a_start_without_config_or_data_is_told_what_to_give(argv, message, capsys):
  assert tiny.call(argv) == 2
  assert message in tiny.sentence(capsys)


@pytest.mark.parametrize(
  ('flag', 'message'),
  [
    ('--config.stage.diversify.step=3', 'did you mean "steps"'),
    ('--config.modl.latent_dim=3', 'did you mean "model"'),
    ('--config.seed.deeper=3', '"deeper" in config.seed'),
    ('--config.data.batch_size=many', 'config.data.batch_size'),
    ('--config.data.batch_size=1.5', 'config.data.batch_size'),
    ('--mode=trian', 'train|evaluate|report'),
    ('--wrokdir=x', "'wrokdir'. Did you mean: workdir"),
    ('--config.method=harmonised', 'did you mean "harmonized"'),
    ('--config.model.harmoniser=True', 'did you mean "harmonizer"'),
    ('--config.data.name=phantm', 'did you mean "phantom"'),
    ('--config.seed=-1', 'config.seed=-1 must be at least 0'),
    ('--config.stage.diversify.steps=0', 'must be at least 1'),
    ('--config.stage.diversify.verb=predict', 'known: sample, personalize'),
    ('--config.data.batch_size=0', 'config.data.batch_size=0'),
    ('--config.stage.diversify.optimizer.learning_rate=0', 'must be positive'),
    ('--config.evaluation.protocol=best', 'known: standard, dpersona, diffoseg'),
    ('--config.evaluation.num_samples=1', 'must be at least 2'),
    ('--config.data.crop=middle', 'known: center, random'),
    ('--config.data.eval_crop=random', 'known: center, tile'),
    ('--config.data.eval_margin=16', 'leaves nothing of tiles'),
    ('--config.data.score_by=patient', 'known: image, case'),
    ('--config.stage.diversify.best_by=dice', '"dice" in config.stage.diversify.best_by'),
    ('--distributed=sometimes', 'auto|on|off'),
    ('--distributed=on', 'give coordinator, num_processes and process_id'),
  ],
)
def test_a_mistake_on_the_command_line_is_one_sentence(flag, message, tmp_path, capsys):
  argv = tiny.arguments(tmp_path / 'run', tmp_path / 'data', method='harmonized')
  assert tiny.call([*argv, flag]) == 2
  assert message in tiny.sentence(capsys)
  assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
  ('more', 'message'),
  [
    ({'model__trunk__name': 'resnet'}, 'no trunk "resnet"'),
    ({'stage__diversify__verb': 'personalize'}, 'makes no personalized masks'),
    ({'data__size': 30}, '30'),
    ({'data__eval_size': 30}, '30'),
    ({'stage__diversify__freeze': '.'}, 'nothing is left to train'),
    ({'data__split__test': 24}, 'leave none for training'),
    ({'data__rater_order': 'rank'}, 'identity, slot, area_rank, shuffle'),
    ({'evaluation__robustness_records': 4}, 'needs a method with a harmonizer'),
    ({'data__options__num_raters': 0}, 'num_raters is 0'),
  ],
)
def test_a_setting_that_cannot_work_is_named_before_training(
  more, message, tmp_path, data_dir, capsys
):
  assert tiny.call(tiny.arguments(tmp_path / 'run', data_dir, **more)) == 2
  assert message in tiny.sentence(capsys)
  assert not (tmp_path / 'run').exists()


def test_the_process_ends_with_status_2_and_one_line(tmp_path, data_dir):
  process = tiny.start(tiny.arguments(tmp_path / 'run', data_dir), devices=8)
  output, error = process.communicate(timeout=300)
  assert process.returncode == 2
  assert output == ''
  assert error.splitlines()[-1] == (
    'error: config.data.batch_size: batch size 4 cannot be divided over 8 devices of '
    '1 process(es); use 8.'
  )
  assert 'Traceback' not in error


def test_a_workdir_that_cannot_be_written(tmp_path, data_dir, capsys):
  (tmp_path / 'file').write_text('')
  assert tiny.call(tiny.arguments(tmp_path / 'file' / 'run', data_dir)) == 2
  assert 'cannot be written' in tiny.sentence(capsys)


def test_print_config_writes_nothing(tmp_path, data_dir, capsys):
  argv = tiny.arguments(tmp_path / 'run', data_dir, data__options__num_images=25)
  assert tiny.call([*argv, '--print_config']) == 0
  assert 'num_images: 25' in capsys.readouterr().out
  assert not (tmp_path / 'run').exists()


def test_dry_run_writes_no_run(tmp_path, data_dir, capsys):
  assert tiny.call([*tiny.arguments(tmp_path / 'run', data_dir), '--dry_run']) == 0
  output = capsys.readouterr().out
  assert 'Stage diversify' in output and 'MiB' in output and '(8, 2, 32, 32, 2)' in output
  assert not (tmp_path / 'run').exists()


def test_a_second_start_only_reports_again(copy, data_dir, capsys):
  (copy / 'report.html').unlink()
  before = [contents(copy / name) for name in ('checkpoints', 'evaluation')]
  log = (copy / 'metrics.jsonl').read_bytes()
  assert tiny.call(tiny.arguments(copy, data_dir)) == 0
  assert [contents(copy / name) for name in ('checkpoints', 'evaluation')] == before
  assert (copy / 'metrics.jsonl').read_bytes() == log
  assert (copy / 'report.html').is_file()
  output = capsys.readouterr().out
  assert 'stage 1: diversify' in output and 'Report: ' in output
  parameters = tiny.summary(copy)['parameters']['diversify']
  assert f'Parameters of stage diversify: sha256 {parameters}\n' in output


def test_evaluation_follows_its_mode_and_its_settings(finished, copy, data_dir):
  before = contents(copy / 'checkpoints')
  argv = tiny.arguments(copy, data_dir, evaluation__protocol='dpersona')
  assert tiny.call([*argv, '--mode=evaluate']) == 0
  assert tiny.summary(copy)['protocol'] == 'dpersona'
  assert contents(copy / 'checkpoints') == before
  assert tiny.call(tiny.arguments(copy, data_dir)) == 0
  for name in ('cases.csv', 'summary.json'):
    expected = (finished / 'evaluation' / name).read_bytes()
    assert (copy / 'evaluation' / name).read_bytes() == expected


def test_another_config_is_refused_with_the_difference(copy, data_dir, capsys):
  argv = tiny.arguments(copy, data_dir, steps=4, augment__noise=0.5)
  before = contents(copy)
  assert tiny.call(argv) == 2
  error = tiny.sentence(capsys)
  assert 'augment.noise: 0.02 -> 0.5' in error
  assert 'stage.diversify.steps: 2 -> 4' in error
  assert '--allow_config_change' in error
  assert contents(copy) == before


def test_a_workdir_in_use_is_refused(copy, data_dir, capsys):
  with Lock(copy):
    assert tiny.call(tiny.arguments(copy, data_dir)) == 2
  assert 'in use by another run' in tiny.sentence(capsys)


def test_the_time_budget_ends_a_run_and_an_allowed_change_goes_on(
  tmp_path, data_dir, finished, capsys
):
  assert tiny.call(tiny.arguments(tmp_path, data_dir, max_minutes=1e-6)) == 0
  output = capsys.readouterr().out
  assert 'max_minutes' in output and 'goes on' in output
  assert not (tmp_path / 'evaluation').exists()
  assert [p.name for p in (tmp_path / 'checkpoints' / 'diversify').iterdir()] == ['1']
  changed = tiny.arguments(tmp_path, data_dir, stage__diversify__checkpoint_every=1)
  assert tiny.call(changed) == 2
  assert 'checkpoint_every: 2 -> 1' in tiny.sentence(capsys)
  assert tiny.call([*changed, '--allow_config_change']) == 0
  steps = [line['step'] for line in tiny.log_lines(tmp_path) if line['kind'] == 'train']
  assert steps == [1, 2]
  assert tiny.summary(tmp_path)['parameters'] == tiny.summary(finished)['parameters']


def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_checkpoint(tmp_path, data_dir, capsys):
  argv = tiny.arguments(
    tmp_path,
    data_dir,
    steps=4,
    stage__diversify__optimizer__learning_rate=1e30,
    stage__diversify__checkpoint_every=1,
  )
  assert tiny.call(argv) == 2
  error = capsys.readouterr().err.splitlines()[-1]
  assert error.startswith('error: Step ') and 'the term "' in error
  step = int(error.removeprefix('error: Step ').partition(':')[0])
  assert 1 < step <= 4
  saved = [int(p.name) for p in (tmp_path / 'checkpoints' / 'diversify').iterdir()]
  assert max(saved) == step - 1
  restore_params(tmp_path / 'checkpoints' / 'diversify', step - 1, name='trained')


def test_evaluation_needs_a_trained_run(tmp_path, data_dir, capsys):
  argv = tiny.arguments(tmp_path / 'run', data_dir)
  assert tiny.call([*argv, '--mode=evaluate']) == 2
  assert 'Stage "diversify"' in tiny.sentence(capsys)
  with pytest.raises(CheckpointError):
    restore_params(tmp_path / 'run' / 'checkpoints' / 'diversify')


def test_report_needs_scores(tmp_path, data_dir, capsys):
  argv = tiny.arguments(tmp_path / 'run', data_dir)
  assert tiny.call([*argv, '--mode=report']) == 2
  assert 'evaluate the run first' in tiny.sentence(capsys)
