"""What every config starts from: data sets, schedule of a stage, evaluation, and the two scales.

A config is executed Python: run only configs you trust. Tuples, not lists, so that the command line
can set them.
"""

import re

from ml_collections import ConfigDict, config_dict

SCALES = ('cpu', 'paper')
# Steps of a first stage and of a later one, by data set; the published scale has its own.
STEPS = {
  'phantom': (300, 120),  # within eight minutes on two slow cores; scores were taken at 480 + 200
  'lidc_slices': (1600, 400),
  'lidc_idri': (1600, 400),
  'npc': (1600, 400),
  'qubiq': (800, 400),
  'folder': (800, 400),
}
PAPER_STEPS = (34_000, 34_000)
DATA_SETS = tuple(STEPS)


def parse(argument: str) -> tuple[str, str]:
  """The data set and the scale of ``'<data set>[,<scale>[,<steps>]]'``; the scale is ``cpu``."""
  name, scale, _ = _parts(argument)
  return name, scale


def steps(argument: str) -> tuple[int, int]:
  """How long a method's first stage trains, and how long a later one.

  ``<steps>`` of the argument says it as ``<first>+<later>``, such as ``phantom,cpu,400+160``.
  """
  name, scale, given = _parts(argument)
  if given:
    return given
  return STEPS[name] if scale == 'cpu' else PAPER_STEPS


def _parts(argument: str) -> tuple[str, str, tuple[int, ...]]:
  name, scale, given, *rest = [*argument.split(','), '', '']
  scale = scale or 'cpu'
  for value, known, what in ((name, DATA_SETS, 'data set'), (scale, SCALES, 'scale')):
    if value not in known:
      raise ValueError(f'Unknown {what} "{value}" in the config; known: {", ".join(known)}.')
  if any(rest) or (given and not re.fullmatch(r'[1-9]\d*\+[1-9]\d*', given)):
    raise ValueError(f'"{argument}" in the config is not "<data set>,<scale>,<first>+<later>".')
  return name, scale, tuple(map(int, given.split('+'))) if given else ()


def base(method: str, argument: str) -> ConfigDict:
  """Everything but the model and the stages."""
  name, scale = parse(argument)
  config = ConfigDict()
  config.name = method
  config.method = method
  config.seed = 0
  config.max_minutes = 0.0  # wall-clock budget of one start; 0 is none
  # A local ResNet-34 in safetensors; goes with --config.model.trunk.norm=frozen_affine.
  config.pretrained = config_dict.placeholder(str)
  config.data = data(name, scale)
  config.augment = augmentation()
  config.evaluation = ConfigDict(
    {
      'num_samples': 16,
      'validation_samples': 8,
      'validation_records': 200,  # the first so many of the validation part
      'protocol': 'standard',
      'panels': 12,
      'robustness_records': 0,  # 0: no robustness test
      'robustness_samples': 8,
      'step_counts': (),  # of the sampler, compared by GED; diffusion methods only
      'step_records': 24,
      'step_samples': 8,
    }
  )
  config.model = ConfigDict()
  config.stage = ConfigDict()
  return config


def data(name: str, scale: str) -> ConfigDict:
  """Where the data comes from, how it is split, cut and fed."""
  size = 128 if scale == 'paper' else 64
  config = ConfigDict(
    {
      'name': name,
      'data_dir': 'data_cache',
      'options': {},
      'cache_mb': 1024,
      'rater_order': 'identity',
      'percentiles': (),  # of each image that become 0 and 1; (): the range of the stored type
      'split': {
        'file': config_dict.placeholder(str),
        # 'published': the parts of the download (npc, qubiq, HPU-Net's crops); 'held_back': its
        # validation part as test part, the last of its training part as validation part.
        'policy': 'random',
        'validation': 0.15,
        'test': 0.25,
        'seed': 0,
        'folds': 0,  # 0: hold-out
        'fold': 0,
      },
      'size': size,
      'crop': 'center',
      'batch_size': 12 if scale == 'paper' else 16,
      # Threads share Python's lock: two deliver fewer small images than one. Of images of
      # 1024x1024 with five masks, unpacked anew at every pass, four deliver twice as many.
      'num_threads': 1,
      'eval_size': size,
      'eval_crop': 'center',
      'eval_batch_size': 16,
      'eval_margin': 0,
      'score_by': 'image',
    }
  )
  {
    'phantom': _phantom,
    'lidc_slices': _lidc_slices,
    'lidc_idri': _lidc_idri,
    'npc': _npc,
    'qubiq': _qubiq,
    'folder': _folder,
  }[name](config)
  return config


def _phantom(config: ConfigDict) -> None:
  """2,600 images with 4 raters, one image a case."""
  config.options = ConfigDict({'size': config.size, 'num_images': 2600, 'num_raters': 4, 'seed': 0})
  config.split.validation, config.split.test = 200, 400


def _lidc_slices(config: ConfigDict) -> None:
  """Nodule crops of LIDC-IDRI; slots are not persons, so raters are ordered by area."""
  config.manual_dir = config_dict.placeholder(str)
  config.options = ConfigDict({'min_raters': 1})
  config.rater_order = 'area_rank'


def _lidc_idri(config: ConfigDict) -> None:
  """The same nodules from the archive's own DICOM and XML files, with their choices open."""
  config.manual_dir = config_dict.placeholder(str)
  config.options = ConfigDict(
    {
      'xml_dir': config_dict.placeholder(str),  # where the annotations lie elsewhere
      'preset': 'native128',
      'window': config_dict.placeholder(str),  # None: the preset's, as of the next two
      'presence': config_dict.placeholder(str),
      'min_raters': config_dict.placeholder(int),
      'slots': 4,
      'include_outline': False,
      'tolerance': config_dict.placeholder(float),  # mm; None: the distance of the slices
      'bits': 8,
      'overrides': config_dict.placeholder(str),
      'strict': True,
    }
  )
  config.rater_order = 'area_rank'


def _npc(config: ConfigDict) -> None:
  """Slices of three MR sequences by four oncologists, resized whole and scored by volume."""
  config.manual_dir = config_dict.placeholder(str)
  config.options = ConfigDict(
    {
      'preset': 'linear',
      'size': config.size,
      'training': 'slices',
      'intensity': config_dict.placeholder(str),
    }
  )
  config.score_by = 'case'


def _qubiq(config: ConfigDict) -> None:
  """One task of the challenge; few images, larger than a crop; slots are not persons."""
  config.manual_dir = config_dict.placeholder(str)
  config.options = ConfigDict({'task': 'brain-growth', 'geometry': 'strict'})
  config.rater_order = 'area_rank'
  config.crop, config.eval_crop = 'random', 'tile'
  config.eval_margin = config.size // 8


def _folder(config: ConfigDict) -> None:
  """images/ and rater_<k>/: large images are cropped for training and tiled for evaluation."""
  config.manual_dir = config_dict.placeholder(str)
  config.options = ConfigDict(
    {
      'layout': config_dict.placeholder(str),  # None: folders, or manifest where there is one
      'num_classes': 2,
      'case_pattern': config_dict.placeholder(str),
      'window': config_dict.placeholder(tuple),
      'rater_identity': config_dict.placeholder(bool),
      'empty_masks': 'drawn',
    }
  )
  config.crop, config.eval_crop = 'random', 'tile'
  config.percentiles = (0.5, 99.9)
  config.eval_margin = config.size // 8  # context that tiles share; the net sees what it trained on


def augmentation() -> ConfigDict:
  """Largest amplitudes of the changes drawn on the device (flips and turns are the host's)."""
  return ConfigDict(
    {
      'probability': 0.5,
      'rotation': 20.0,
      'scale': 0.1,
      'elastic': 0.0,
      'brightness': 0.05,
      'contrast': 0.1,
      'gamma': 0.0,
      'noise': 0.02,
    }
  )


def stage(
  steps: int, *, verb: str, best_by: str, learning_rate: float, also: tuple[str, ...] = ()
) -> ConfigDict:
  """The schedule of one stage; ``best_by`` names the validation score that picks the best."""
  return ConfigDict(
    {
      'steps': steps,
      'verb': verb,  # what is validated and evaluated: 'sample' or 'personalize'
      'also': also,  # further verbs that are evaluated
      'best_by': best_by,
      'lower_is_better': best_by.startswith('ged'),
      'method': {},  # arguments of the method in this stage alone
      'freeze': '/frozen_',  # regular expression over parameter names; pretrained norms stay
      'ema_decay': 0.999,
      'artifact_probability': 0.0,
      'log_every': 10,
      'checkpoint_every': max(steps // 5, 1),
      'optimizer': {
        'learning_rate': learning_rate,
        'warmup': 0.05,  # share of the steps
        'weight_decay': 1e-5,
        'clip_norm': 1.0,
        'accumulate': 1,
        'rate_of': (),
      },
    }
  )


def trunk(scale: str) -> ConfigDict:
  """The trunk and the encoders: small and folded for CPUs, the papers' size for accelerators."""
  if scale == 'paper':
    return ConfigDict(
      {
        'trunk': {'name': 'resnet34', 'norm': 'group'},
        'latent_dim': 6,
        'encoder_widths': (16, 32, 64, 128, 256),
        'encoder_convs': 3,
        'encoder_patch': 1,
        'dtype': 'bfloat16',
      }
    )
  return ConfigDict(
    {
      'trunk': {'name': 'unet', 'widths': (32, 64, 96, 128), 'convs': 2, 'patch': 2},
      'latent_dim': 6,
      'encoder_widths': (16, 32, 64),
      'encoder_convs': 2,
      'encoder_patch': 2,
      'dtype': 'float32',
    }
  )


def diffusion(scale: str) -> ConfigDict:
  """The trunk that reads the image, and the denoiser that runs once a step of every sample."""
  parts = trunk(scale)
  small = {'widths': (32, 64, 96), 'blocks': 1, 'attention': 1, 'patch': 4}
  large = {'widths': (64, 96, 128, 192), 'blocks': 2, 'attention': 2, 'patch': 2, 'remat': True}
  return ConfigDict(
    {
      'trunk': parts.trunk,
      'denoiser': large if scale == 'paper' else small,
      'dtype': parts.dtype,
      'num_steps': 25 if scale == 'paper' else 10,
      'num_loss_draws': 4,  # masks an image, each with noise of its own: the trunk runs once
    }
  )


def gaussian(scale: str) -> ConfigDict:
  """How Gaussian noise is taken away: v of the noise is hard on small networks, which predict x0.

  On the phantom, 480 steps, CaliDiff's samples were still full of noise with v: GED 0.33, with x0
  0.205. The other two methods were not tried with v. Short runs want few sampler steps, and noise
  in them: on 48 validation images of the phantom two raters differ by 0.244, two samples of
  ``cimd``, ``calidiff`` and ``annotator_consensus`` by 0.321, 0.298, 0.297 after 10 steps of DDIM,
  0.308, 0.294, 0.284 after 3, and 0.269, 0.248, 0.252 after 3 ancestral ones, whose ECE is the
  lowest too; GED is 0.188, 0.174, 0.191, then 0.184, 0.167, 0.173, then 0.186, 0.174, 0.169.
  """
  if scale == 'paper':
    return ConfigDict({'parameterization': 'v', 'sampler': 'ddim'})
  return ConfigDict({'parameterization': 'x0', 'sampler': 'ancestral', 'num_steps': 3})


def diffusion_evaluation(scale: str) -> ConfigDict:
  """A curve over steps; on a CPU a smaller validation, as a sample costs many passes."""
  small = {'validation_records': 48, 'validation_samples': 4}
  counts = {'step_counts': (2, 5, 10, 25, 50)}
  return ConfigDict(counts if scale == 'paper' else counts | small)


def trunk_alone(scale: str) -> ConfigDict:
  """The trunk without the encoders of a latent."""
  whole = trunk(scale)
  return ConfigDict({name: whole[name] for name in ('trunk', 'dtype')})
