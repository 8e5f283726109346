// A relay of one room on Socket.IO; it acknowledges what asks for it.
import { createServer } from 'node:http';
import { Server } from 'socket.io';

const http = createServer();
const io = new Server(http, { transports: ['websocket'], serveClient: false });
io.on('connection', (socket) => {
  let own;
  socket.on('enter', (room, done) => {
    own = room;
    socket.join(room);
    done();
  });
  socket.on('signal', (data, done) => {
    socket.to(own).emit('signal', data);
    done?.({ delivered: true });
  });
});
http.listen(0, '127.0.0.1', () => console.log(`listening ${http.address().address}:${http.address().port}`));
