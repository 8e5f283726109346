/** The camera, the microphone and the screen of this end. */

const WHY = {
  NotAllowedError: 'was refused. You can still join, see and hear; allow it in the address bar to be seen.',
  NotFoundError: 'was not found. You can still join, see and hear.',
  NotReadableError: 'is in use by another program. You can still join, see and hear.',
};
const NAME = { audio: 'The microphone', video: 'The camera' };
const WANTED = {
  audio: { echoCancellation: true, noiseSuppression: true, autoGainControl: true },
  video: { width: { ideal: 1280 }, height: { ideal: 720 }, facingMode: 'user' },
};

export class Media extends EventTarget {
  stream = new MediaStream();
  tracks = {};
  screen = undefined;
  note = '';

  get video() {
    return this.screen ?? this.tracks.video;
  }

  on(kind) {
    return kind === 'video' ? Boolean(this.video) : Boolean(this.tracks.audio?.enabled);
  }

  /** Asks for both at once, so that there is one question, then for either. */
  async start() {
    try {
      this.#adopt(await this.#ask({ audio: WANTED.audio, video: WANTED.video }));
    } catch {
      for (const kind of ['audio', 'video']) await this.#open(kind);
      if (!this.tracks.audio && !this.tracks.video) this.note = this.note.replace(/^The \w+/, 'Camera or microphone');
    }
    this.#changed();
  }

  async toggle(kind) {
    this.note = '';
    const track = this.tracks[kind];
    if (kind === 'audio' && track) track.enabled = !track.enabled;
    else if (track) {
      track.stop();
      delete this.tracks[kind];
    } else await this.#open(kind);
    this.#changed();
  }

  async share() {
    if (this.screen) return this.#unshare();
    const stream = await navigator.mediaDevices.getDisplayMedia({ video: true });
    [this.screen] = stream.getVideoTracks();
    this.screen.addEventListener('ended', () => this.#unshare());
    this.#changed();
  }

  stop() {
    for (const track of [...Object.values(this.tracks), this.screen]) track?.stop();
    this.tracks = {};
    this.screen = undefined;
  }

  #unshare() {
    this.screen?.stop();
    this.screen = undefined;
    this.#changed();
  }

  #ask(constraints) {
    if (!navigator.mediaDevices) throw new DOMException('no devices', 'NotFoundError');
    return navigator.mediaDevices.getUserMedia(constraints);
  }

  async #open(kind) {
    try {
      this.#adopt(await this.#ask({ [kind]: WANTED[kind] }));
    } catch ({ name }) {
      this.note = `${NAME[kind]} ${WHY[name] ?? 'cannot be used. You can still join, see and hear.'}`;
    }
  }

  #adopt(stream) {
    for (const track of stream.getTracks()) {
      this.tracks[track.kind] = track;
      track.addEventListener('ended', () => {
        if (this.tracks[track.kind] !== track) return;
        delete this.tracks[track.kind];
        this.#changed();
      });
    }
  }

  #changed() {
    for (const track of this.stream.getTracks()) this.stream.removeTrack(track);
    for (const track of [this.tracks.audio, this.video]) if (track) this.stream.addTrack(track);
    this.dispatchEvent(new Event('change'));
  }
}
