// The `peer` server as it comes, without its bounds on connections and their age.
import { PeerServer } from 'peer';

PeerServer({ host: '127.0.0.1', port: 0, path: '/', concurrent_limit: 50_000, alive_timeout: 24 * 3600 * 1000 }, (server) => {
  console.log(`listening ${server.address().address}:${server.address().port}`);
});
