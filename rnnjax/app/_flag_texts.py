"""The help texts of the flags that experiments and studies share."""

from __future__ import annotations

from rnnjax import estimators
from rnnjax.app._reports import REPORTS
from rnnjax.training._optimizers import DIRECTIONS

HELP = {
    "cell": "Recurrent layer: a name in rnnjax (lstm, gru, vanilla, urnn, ...) or an import "
    "path (mylab.cells:leaky); several, comma-separated, are trained one after another and compared.",
    "hidden_size": "Units of each layer: one number, or one for each --cell.",
    "num_layers": "Number of stacked recurrent layers, or of blocks.",
    "block": "What is around each recurrent layer: nothing (plain), or the norm, convolution, gate, MLP and residual "
    "connection of a paper, with --hidden_size features between blocks.",
    "cell_args": "Further arguments of the cell, as in forget_bias=2.0,layer_norm=True; what follows CELL: is for one "
    "of several --cell, as in lstm:forget_bias=2.0,gru:reset_after=False.",
    "dropout": "Dropout rate between layers, in [0, 1).",
    "init_scale": "Factor on all initial parameters of the network.",
    "start_from": "RUN, RUN:last or RUN:STEP: the folder of a run or study, whose parameters (the best, by default) "
    "initialise this run, matched by name and shape.",
    "start_partial": "Initialise at random the parameters that --start_from lacks or has in another shape.",
    "rule": f"How the gradient is estimated: {', '.join(estimators.RULES)}, or an import path; tbptt, "
    "sliding_tbptt, pes and nres need --truncation, and adaptive_tbptt chooses it, up to --truncation if given.",
    "truncation": "How many steps back a truncated gradient looks at most; 0: all.",
    "optimizer": f"One of {', '.join(sorted(DIRECTIONS))}, or an import path to a function "
    "that returns an optax transformation: a direction, such as optax:scale_by_yogi, or a full optimiser, such as "
    "optax:yogi, which is given --learning_rate if it needs one, and otherwise keeps its own.",
    "learning_rate": "Peak learning rate.",
    "ema": "Rate of the moving average of the parameters that is evaluated, kept and exported in their place, such as "
    "0.999; 1: the mean of all; 0: no average.",
    "accumulate": "Batches of each update: their gradients are added up, as those of one batch of all their examples.",
    "horizon": "Step at which the schedule ends; 0: --num_steps. a later one prolongs a run whose "
    "rate decays, by the schedule of the new horizon.",
    "find_lr": "Train 100 steps in which the learning rate grows from 1e-6 to 1, print and draw the loss at each, and "
    "exit: the rate at which it falls fastest is a start for --learning_rate.",
    "schedule": "How the learning rate decays from its peak to final_rate times the peak.",
    "final_rate": "Final learning rate as a fraction of the peak; ignored by constant.",
    "warmup_steps": "Steps of linear warm-up.",
    "clip_norm": "Largest global norm of the gradient; 0: no limit.",
    "weight_decay": "Decoupled weight decay, times the learning rate; not applied to biases and gains.",
    "lr_scale": "PATTERN=FACTOR: scales the learning rate of the parameters whose name matches the "
    "regular expression, and 0 freezes them; CELL:PATTERN=FACTOR is for one of several --cell",
    "batch_size": "Examples per step.",
    "num_steps": "Updates in the whole run.",
    "patience": "Stop after this many evaluations without a better --score; 0: never.",
    "score": "Metric on validation that decides which parameters are the best, such as accuracy; max:NAME or min:NAME "
    "says which is better.",
    "dtype": "Dtype of the network's computations; parameters are kept in at least float32.",
    "matmul_precision": "Precision of float32 matrix products where the hardware offers a choice.",
    "seed": "Seed of everything random in the run.",
    "workdir": "Folder of the run, which resumes if started again; empty: under runs/, named after the flags.",
    "allow_other_code": "Resume a run even if its code was edited after it began.",
    "picture": "Format of curves and other pictures of the run.",
    "compilation_cache": "Folder that keeps compiled programs between runs; empty: in the user's cache "
    "folder; off: none.",
    "devices": "Devices that share each batch, on a machine with only a CPU its cores; auto: as many cores as make a "
    "step faster, or the number in flags.cfg of a resumed run; 0: one, or with --coordinator those of all processes.",
    "coordinator": "HOST:PORT of process 0, if several processes train one run; auto or slurm: JAX reads everything "
    "from the environment; empty: this process only.",
    "num_processes": "Number of processes, with --coordinator=HOST:PORT.",
    "process_id": "Index of this process, from 0; process 0 leads and writes.",
    "lost_after": "Seconds without a message after which another process counts as lost.",
    "data_dir": "Folder of data sets; $RNNJAX_DATA by default.",
    "encoding": "Encoding of texts without a byte order mark, such as latin-1 or cp1252.",
    "log_every": "Steps between lines of metrics.jsonl.",
    "eval_every": "Steps between evaluations.",
    "eval_batches": "Batches of each evaluation, if the data set does not determine it.",
    "report": f"Further measurements at each evaluation: {', '.join(REPORTS)} (norms of d h_T / d h_t over the whole "
    "window and half of it), or an import path to a function (cell, params, x) -> {name: number}.",
    "plot": "Metrics to draw, one panel each, as in loss,accuracy: those of metrics.jsonl.",
    "describe": "Print the parts of the network with their shapes and sizes, and stop: no file is written.",
    "analyse": "Draw, for one sequence, the trained network beside the untrained one: gradient flow and its bound, "
    "singular values of d h_T / d h_t, eigenvalues in the complex plane; also after the end of a run.",
    "checkpoint_every": "Steps between checkpoints.",
    "keep_checkpoints": "Number of checkpoints to keep.",
    "writers": "Where to write metrics: jsonl, tensorboard, wandb, mlflow.",
    "profile": "Write a trace of a quarter of a second to profile/ in the workdir, for TensorBoard.",
    "debug_nans": "Run step by step, and name the step and the value at which nan or inf appears; slow.",
}
