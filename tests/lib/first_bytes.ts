import { createServer } from "node:net";

/** What a client says before it is answered: a ClientHello, if it speaks TLS. @param connect has to make it connect to this port of 127.0.0.1 */
export function firstBytes(connect: (port: number) => void): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => {
      socket.on("error", () => {});
      socket.once("data", (bytes) => {
        socket.destroy();
        server.close();
        resolve(bytes as Uint8Array);
      });
    });
    server.on("error", reject);
    server.listen(0, "127.0.0.1", () => connect((server.address() as { port: number }).port));
  });
}
