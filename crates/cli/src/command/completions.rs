//! `ouzel completions`.

use std::io::Write;

use clap::CommandFactory;
use clap_complete::Shell;

use crate::Args;
use crate::exit::{Exit, Failed, Result};

#[derive(clap::Args)]
#[command(after_help = INSTALL)]
pub struct CompletionsArgs {
    /// The shell they are for
    #[arg(value_enum)]
    shell: Shell,
}

const INSTALL: &str = "\
Installing them:
  bash        ouzel completions bash > ~/.local/share/bash-completion/completions/ouzel
  zsh         ouzel completions zsh > ~/.zfunc/_ouzel
              with `fpath=(~/.zfunc $fpath)` before `compinit` in ~/.zshrc
  fish        ouzel completions fish > ~/.config/fish/completions/ouzel.fish
  elvish      ouzel completions elvish > ~/.config/elvish/lib/ouzel.elv
              with `use ouzel` in ~/.config/elvish/rc.elv
  powershell  ouzel completions powershell >> $PROFILE
A new shell has them.";

pub fn run(args: CompletionsArgs) -> Result {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Args::command(), "ouzel", &mut script);
    std::io::stdout().write_all(&script).map_err(|e| Failed::environment("cannot write", &e))?;
    Ok(Exit::Fine)
}
