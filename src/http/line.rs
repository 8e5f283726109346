//! The way from the hub to one connection.

use std::collections::VecDeque;
use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use futures_util::task::AtomicWaker;

use crate::signal::{CloseCode, Frame};

/// Orders for which a list keeps its room.
const USUAL_ORDERS: usize = 16;

/// What a connection is to do, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// Close once what came before has left.
    Close(CloseCode),
    /// Write a comment.
    Comment,
    /// Write a message.
    Send(Frame),
}

/// Orders on their way from the hub to the task of a connection.
///
/// The hub bounds it: it hands out no more than a window of bytes beyond what is reported as written.
#[derive(Default)]
pub struct Line {
    waiting: Mutex<Waiting>,
    reader: AtomicWaker,
    /// Who waits for nothing but the end.
    watcher: AtomicWaker,
}

#[derive(Default)]
struct Waiting {
    orders: VecDeque<Order>,
    is_closing: bool,
}

impl Line {
    /// Adds an order. Returns whether it is the first, so that [`Line::wake`] is due before long.
    pub fn push(&self, order: Order) -> bool {
        let mut waiting = self.waiting();
        // Behind what waits already a comment says nothing.
        if order == Order::Comment && !waiting.orders.is_empty() {
            return false;
        }
        waiting.is_closing |= matches!(order, Order::Close(_));
        waiting.orders.push_back(order);
        waiting.orders.len() == 1
    }

    /// Wakes the connection's task.
    pub fn wake(&self) {
        self.reader.wake();
        self.watcher.wake();
    }

    /// Takes all orders as soon as there are any, in exchange for a list whose room is used again.
    pub(crate) fn poll_take(&self, cx: &Context<'_>, into: &mut VecDeque<Order>) -> Poll<()> {
        self.poll(cx, into, |waiting| !waiting.orders.is_empty())
    }

    /// Takes all orders as soon as one of them is to close.
    pub(crate) fn poll_closing(&self, cx: &Context<'_>, into: &mut VecDeque<Order>) -> Poll<()> {
        self.poll(cx, into, |waiting| waiting.is_closing)
    }

    /// Waits until an order to close has come, whoever takes it.
    pub(crate) fn poll_watch(&self, cx: &Context<'_>) -> Poll<()> {
        self.watcher.register(cx.waker());
        if self.waiting().is_closing { Poll::Ready(()) } else { Poll::Pending }
    }

    fn poll(
        &self,
        cx: &Context<'_>,
        into: &mut VecDeque<Order>,
        is_ready: impl Fn(&Waiting) -> bool,
    ) -> Poll<()> {
        self.reader.register(cx.waker());
        let mut waiting = self.waiting();
        if !is_ready(&waiting) {
            return Poll::Pending;
        }
        into.clear();
        into.shrink_to(USUAL_ORDERS);
        mem::swap(&mut waiting.orders, into);
        Poll::Ready(())
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    #[test]
    fn orders_come_out_in_order_and_the_first_asks_for_a_wake() {
        let (line, cx) = (Line::default(), &Context::from_waker(Waker::noop()));
        let mut orders = VecDeque::new();
        assert!(line.poll_take(cx, &mut orders).is_pending());
        let pushed =
            [Order::Comment, Order::Comment, Order::Close(CloseCode::Bye)].map(|order| line.push(order));
        assert_eq!(pushed, [true, false, false]);
        assert!(line.poll_take(cx, &mut orders).is_ready());
        assert_eq!(orders, [Order::Comment, Order::Close(CloseCode::Bye)]);
        assert!(line.poll_take(cx, &mut orders).is_pending());
        assert!(line.push(Order::Comment));
        assert!(line.poll_take(cx, &mut orders).is_ready());
        assert_eq!(orders, [Order::Comment]);
    }

    #[test]
    fn one_that_waits_for_the_end_sees_nothing_before_it() {
        let (line, cx) = (Line::default(), &Context::from_waker(Waker::noop()));
        let mut orders = VecDeque::new();
        line.push(Order::Comment);
        assert!(line.poll_closing(cx, &mut orders).is_pending());
        line.push(Order::Close(CloseCode::Bye));
        assert!(line.poll_closing(cx, &mut orders).is_ready());
        assert_eq!(orders.len(), 2);
    }
}
