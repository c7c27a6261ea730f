// The camera, where the browser itself reads QR codes (Barcode Detection API). Pictures stay in the video element.

import { useEffect, useRef } from "react";
import { useWords } from "../words/words.ts";

interface Detector {
  detect(source: HTMLVideoElement): Promise<readonly { readonly rawValue: string }[]>;
}
type DetectorClass = new (options: { formats: readonly string[] }) => Detector;

const LOOK_EVERY_MS = 250;

function detectorClass(): DetectorClass | undefined {
  return (globalThis as { BarcodeDetector?: DetectorClass }).BarcodeDetector;
}

export function canScan(): boolean {
  return detectorClass() !== undefined && navigator.mediaDevices !== undefined;
}

export function Scan({ found }: { readonly found: (text: string) => void }) {
  const say = useWords();
  const video = useRef<HTMLVideoElement>(null);
  useEffect(() => {
    let stream: MediaStream | null = null;
    let wanted = true;
    const stop = (): void => {
      wanted = false;
      for (const track of stream?.getTracks() ?? []) track.stop();
    };
    const look = async (): Promise<void> => {
      stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
      if (!wanted) return stop();
      video.current!.srcObject = stream;
      await video.current!.play();
      const detector = new (detectorClass()!)({ formats: ["qr_code"] });
      while (wanted) {
        const [code] = await detector.detect(video.current!);
        if (code !== undefined) {
          stop();
          return found(code.rawValue);
        }
        await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS));
      }
    };
    look().catch(stop); // no camera, or no permission: the text field stays
    return stop;
  }, []);
  return <video className="camera" ref={video} muted playsInline aria-label={say("take.camera")} />;
}
