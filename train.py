"""python train.py --cfg MODEL --data DATA --hyp RECIPE: teach a model, from nothing or from weights."""

import argparse

from utils.core import flags
from utils.core.command import Parser, run


def parse() -> argparse.Namespace:
    parser = Parser("Train a model. Flags have the last word over the recipe, the recipe over the defaults.")
    parser.refuse(
        {
            "--rect": "mosaics are square, and so are training batches; val.py has --rect",
            "--quad": "batches of larger mosaics are not made here; use --multi-scale or a larger --img",
        }
    )
    flags.add_data_flag(parser)
    parser.add_argument("--hyp", metavar="YAML", help="recipe: rates, loss, augmentation; default: the family's own")
    parser.add_argument("--resume", nargs="?", const="newest", metavar="PT", help="go on: weights/last.pt of a run")
    parser.add_argument(
        "--evolve", nargs="?", type=int, const=300, metavar="N", help="try N recipes (300) in short runs"
    )
    flags.add_model_flags(parser)
    flags.add_image_flags(parser, batch=None)
    flags.add_data_flags(parser)
    flags.add_run_flags(parser, project="runs/train")
    parser.add_argument("--tensorboard", action="store_true", help="write events for TensorBoard too")
    flags.add_recipe_flags(parser)
    flags.add_validation_flags(parser)
    return parser.parse_args()


def main() -> None:
    args = parse()
    from doors import training
    from utils.core.distributed import choose_device, join_processes, leave_processes

    args, state = training.resumed(args) if args.resume else (args, None)
    recipe = training.recipe_of(args)
    join_processes(choose_device(args.device))
    if args.evolve is not None:
        training.evolve(args, recipe)
    else:
        training.train(args, recipe, state)
    leave_processes()


if __name__ == "__main__":
    run(main)
