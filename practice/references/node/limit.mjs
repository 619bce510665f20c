// A rate limit for writes.

// Admits `rate` requests a second, and after a pause as many as one second's at once. Without a rate it admits all.
// A request that is refused takes nothing, so a storm leaves the rate as it is for those who are admitted.
export class TokenBucket {
  #rate;
  #tokens;
  #filledAt = performance.now();

  constructor(rate) {
    this.#rate = rate;
    this.#tokens = rate;
  }

  // 0 for a request that is admitted, else how many seconds to wait before the next try.
  secondsToWait() {
    if (!this.#rate) return 0;
    const now = performance.now();
    this.#tokens = Math.min(this.#rate, this.#tokens + ((now - this.#filledAt) / 1000) * this.#rate);
    this.#filledAt = now;
    if (this.#tokens < 1) return (1 - this.#tokens) / this.#rate;
    this.#tokens -= 1;
    return 0;
  }
}
