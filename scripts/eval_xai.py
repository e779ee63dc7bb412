"""Predictions of a fine-tuned checkpoint on one split of a data-bin, as one .npz file."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from musicbert.command_line import Parser, exit_status


@exit_status
def main(arguments: list[str] | None = None) -> None:
    """Parse the arguments, predict, write."""
    parser = Parser(description=__doc__)
    add = parser.add_argument
    add("checkpoint", type=Path, help="file that fairseq-train wrote")
    add("data", type=Path, help="one fold of a data-bin, such as xai_data_bin_apex_reg_cls/0")
    add("--split", default="test", help="train, valid or test (default: test)")
    add("--output", type=Path, help="default: <checkpoint>.<split>.npz")
    add("--batch-size", type=int, default=32)
    add("--device", help="cpu, cuda, cuda:1 ... (default: a GPU if there is one)")
    options = parser.parse_args(arguments)
    if options.batch_size < 1:
        parser.error("--batch-size is at least 1")

    from musicbert.evaluation.predictions import save_predictions
    from musicbert.fairseq_plugin.labels.predict import load_fine_tuned, predict_part

    def progress(done: int, every: int) -> None:
        if sys.stderr.isatty():
            print(f"\r{done}/{every} pieces", end="" if done < every else "\n", file=sys.stderr)

    model, task = load_fine_tuned(options.checkpoint, options.data)
    predictions = predict_part(
        model, task, options.split, batch_items=options.batch_size, device=options.device, progress=progress
    )
    output = options.output or options.checkpoint.with_suffix(f".{options.split}.npz")
    save_predictions(output, predictions)
    pieces = len(next(iter(predictions.values())))
    print(f"{pieces} pieces of {options.split}: {' and '.join(predictions)} -> {output}")


if __name__ == "__main__":
    sys.exit(main())
