//! The terminal of a container, from outside.

use super::Container;
use crate::{Error, Result};
use rustix::termios::{Winsize, tcsetwinsize};
use std::fs::File;

impl Container {
    /// Takes over the terminal of its slot, with this size.
    pub(crate) fn take_terminal(&mut self, size: Option<(u16, u16)>) -> Result<()> {
        let slots = self.slot.as_mut().and_then(|slot| slot.terminal.take());
        self.terminal = slots.map(File::from);
        size.map_or(Ok(()), |(rows, columns)| self.resize_terminal(rows, columns))
    }

    /// Tells its terminal how large the window is; the programs in its foreground get SIGWINCH if
    /// that is another size (ioctl_tty(2), `TIOCSWINSZ`).
    ///
    /// # Errors
    /// It has no terminal, or [`terminal`](Self::terminal) was taken.
    pub fn resize_terminal(&self, rows: u16, columns: u16) -> Result<()> {
        let Some(terminal) = &self.terminal else {
            let error = Error::invalid("the container has no terminal");
            return Err(error.remedy("ask for one with TemplateBuilder::terminal"));
        };
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(terminal, size).map_err(|errno| Error::syscall("ioctl(TIOCSWINSZ)", errno))
    }
}
