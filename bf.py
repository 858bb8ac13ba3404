import sys, warnings, tempfile, time, cProfile, pstats, os
warnings.simplefilter("ignore")
from pathlib import Path
from serving.bench.running import own_store
from serving.bench.servers import settings_of
from serving.bench.world import applied_store
from streaming.sources import Sources
from streaming.door import Record, admit
from streaming.bench.sample import messages
import redis
def main():
    N=int(sys.argv[1]) if len(sys.argv)>1 else 5000
    R=int(sys.argv[2]) if len(sys.argv)>2 else 8
    folder=Path(tempfile.mkdtemp(prefix="sf-"))
    with own_store(folder) as store:
        s=settings_of(folder,store)
        applied=applied_store(s)
        host,port=s.redis_connection_string.split(",")[0].split(":")
        r=redis.Redis(host=host,port=int(port))
        ss=Sources(applied); ss.changed(); src=ss.by_topic["transactions"]
        print(len(src.fold.layouts),"views")
        msgs=list(messages(N*R,seed=3)); off=0
        src.fold.resume([0])
        pid=r.info("server")["process_id"]
        def cpu():
            f=open(f"/proc/{pid}/stat").read().split(); return (int(f[13])+int(f[14]))/100
        pr=cProfile.Profile() if len(sys.argv)>3 else None
        for i in range(R):
            now=int(time.time()*1000)
            if i==2:
                r.config_resetstat(); c=time.thread_time(); w=time.perf_counter(); vc=cpu()
                ta=0
                if pr: pr.enable()
            c0=time.thread_time()
            recs=[Record(0,off+i,now,*msgs[(off+i)]) for i in range(N)]
            ev,ref=admit(src.topic,recs,src.lateness_us)
            if i>=2: ta+=time.thread_time()-c0
            src.fold.apply(ev,{0:off+N-1}); off+=N
        if pr: pr.disable()
        n=N*(R-2)
        print("client us/event cpu",(time.thread_time()-c)/n*1e6,"of which admit",ta/n*1e6,"wall",(time.perf_counter()-w)/n*1e6,"store cpu",(cpu()-vc)/n*1e6)
        for k,v in sorted(r.info("commandstats").items(), key=lambda kv:-kv[1]["usec"])[:8]: print(k, v["calls"], "calls/event",v["calls"]/n, "us/event",v["usec"]/n, "us/call", v["usec"]/v["calls"])
        tot={}
        for key in r.scan_iter(count=5000):
            k=key.decode("latin1")
            if ":s:" in k:
                v=k.split(":s:")[1].split(":")[0]
                tot.setdefault(v,[0,0]); 
                if len(k)%3==0:
                    tot[v][0]+=1; tot[v][1]+=sum(map(len,r.hvals(key)))
        print({v:(a,b//max(a,1)) for v,(a,b) in tot.items()})
        if pr: pstats.Stats(pr).sort_stats(sys.argv[3]).print_stats(45)
main()
