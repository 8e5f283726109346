// A CA of the lab's own and a certificate for the server's name and addresses.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { run } from './proc.mjs';

export function makeCertificates(dir, { names, addresses }) {
  const path = (name) => join(dir, name);
  const key = (name) => ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout', path(name)];
  const ca = path('ca.pem');
  run('openssl', ['req', '-x509', ...key('ca.key'), '-out', ca, '-days', '30', '-subj', '/CN=Turnpike lab CA',
    '-addext', 'basicConstraints=critical,CA:TRUE', '-addext', 'keyUsage=critical,keyCertSign,cRLSign']);
  run('openssl', ['req', ...key('server.key'), '-out', path('server.csr'), '-subj', `/CN=${names[0]}`]);
  const subjectAltName = [...names.map((name) => `DNS:${name}`), ...addresses.map((address) => `IP:${address}`)].join(',');
  writeFileSync(path('server.ext'), [
    `subjectAltName=${subjectAltName}`,
    'basicConstraints=critical,CA:FALSE',
    'keyUsage=critical,digitalSignature',
    'extendedKeyUsage=serverAuth',
    '',
  ].join('\n'));
  run('openssl', ['x509', '-req', '-in', path('server.csr'), '-CA', ca, '-CAkey', path('ca.key'), '-CAcreateserial',
    '-out', path('server.pem'), '-days', '30', '-extfile', path('server.ext')]);
  return { ca, cert: path('server.pem'), key: path('server.key') };
}
