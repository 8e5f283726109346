// What turnutils_uclient says at its end.
// `tot_send_msgs=…, tot_recv_msgs=…` comes once a second and at the end, `Total lost packets` once, at the end.
export function outcome(lines) {
  const lost = lines.map((line) => /Total lost packets (\d+) \(.*total send dropped (\d+) /.exec(line)).filter(Boolean).at(-1);
  const totals = lines.map((line) => /tot_send_msgs=(\d+), tot_recv_msgs=(\d+)/.exec(line)).filter(Boolean).at(-1);
  return {
    lost: Number(lost?.[1] ?? NaN),
    sendDropped: Number(lost?.[2] ?? NaN),
    complete: Boolean(totals) && Number(totals[1]) > 0 && totals[1] === totals[2],
  };
}
